use std::collections::BTreeMap;
use std::fmt::Debug;

trait Shape {
    fn area(&self) -> f64;
    fn name(&self) -> String {
        "shape".to_owned()
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Square(f64);

impl Shape for Square {
    fn area(&self) -> f64 {
        self.0 * self.0
    }
}

fn largest<T: PartialOrd + Copy + Debug>(items: &[T]) -> Option<T> {
    let mut items = items.iter().copied();
    let mut best = items.next()?;
    for item in items {
        if item > best {
            best = item;
        }
    }
    Some(best)
}

macro_rules! describe {
    ($value:expr) => {
        match $value {
            0 => "none",
            n if n % 2 == 0 => "even",
            _ => "odd",
        }
    };
}

fn parse(text: &str) -> Result<i64, std::num::ParseIntError> {
    let number: i64 = text.parse()?;
    Ok(if number < 0 { -number } else { number })
}

mod inner {
    pub fn never_called(n: u32) -> u32 {
        if n > 3 { n } else { 0 }
    }

    #[inline(always)]
    pub fn always(n: i64) -> i64 {
        n.wrapping_mul(3)
    }
}

async fn later(n: i64) -> i64 {
    n + 1
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for argument in &arguments {
        let Ok(number) = parse(argument) else {
            eprintln!("{argument} is no number");
            continue;
        };
        *counts.entry(describe!(number)).or_default() += 1;
        let double = |n: i64| -> i64 { if n > 2 { n * 2 } else { n } };
        println!("{} {}", double(number), inner::always(number));
    }
    println!("{counts:?} {:?} {:?}", largest(&[1, 5, 3]), largest(&[0.5, 0.25]));
    let shape: &dyn Shape = &Square(2.0);
    if arguments.len() > 2 && shape.area() > 3.0 {
        println!("{}", shape.name());
    }
    drop(later(3));
}
