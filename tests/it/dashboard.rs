//! The dashboard of 500 runs, also as a browser sees it.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use hpc_ci::publish::branch::folder::Folder;
use hpc_ci::publish::branch::{Existing, content};

use crate::support::git_servers::{serve, write};
use crate::support::synthetic::{HOSTILE, Made, history};

/// `index.html` of so many runs.
fn page(runs: usize) -> String {
    page_of(&history(runs))
}

/// `index.html` of these runs.
fn page_of(folders: &[Folder]) -> String {
    let none = BTreeSet::new();
    let existing = Existing {
        branch: "hpc-results",
        paths: &none,
        read: &|_| Ok(None),
        default_branch: Some("main"),
    };
    let mut files = content(existing, folders, 500).unwrap();
    String::from_utf8(files.remove("index.html").flatten().unwrap()).unwrap()
}

#[test]
fn a_page_of_500_runs_holds_them_all_and_no_foreign_markup() {
    let page = page(500);
    assert_eq!(page.matches("<tr data-status=").count(), 500);
    assert!(page.contains("&lt;script&gt;alert(1)") || page.contains("&#60;script&#62;alert(1)"));
    assert!(
        !page.contains(HOSTILE) && !page.contains("<img"),
        "a name broke out"
    );
    for outside in ["http://", "https://", "src=\"", "@import", "url("] {
        let page = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn a_page_of_little_claims_nothing_and_draws_no_line_through_one_point() {
    let mut damaged = Made::new(3);
    damaged.marks = vec!["infrastructure_damaged"];
    for folders in [vec![], vec![damaged.folder()]] {
        let page = page_of(&folders);
        assert!(page.contains("Nothing to show yet"), "{page}");
        assert!(!page.contains("Nothing failed"), "no test ran: {page}");
        assert!(!page.contains("latest-tests.json"), "no such file: {page}");
    }
    let one = page_of(&[Made::new(1).folder()]);
    assert!(!one.contains("class=\"chart\"") && !one.contains("class=\"strip\""));
    assert!(
        one.contains("<b>87.50 %</b>, 10255 of 11720 lines"),
        "{one}"
    );
    let two = page_of(&[Made::new(0).folder(), Made::new(1).folder()]);
    assert!(two.contains("class=\"chart\"") && two.contains("class=\"strip\""));
}

#[test]
fn what_the_code_is_at_fault_for_comes_first() {
    let mut both = Made::new(1);
    (both.failing, both.unproved) = (2, 3);
    let page = page_of(&[both.folder()]);
    let table = page.split("id=\"benchmarks\"").next().unwrap();
    let fault = table.rfind("particles[ranks=16]").unwrap();
    assert!(fault < table.rfind("halo[ranks=1]").unwrap());
}

/// Without scripts, from inside a frame that allows none: rows, charts with a line, and whether the filters show.
const FRAME: &str = r##"<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<iframe sandbox="allow-same-origin" src="index.html" width="1200" height="900"></iframe><output></output>
<script>addEventListener("load", () => {
  const page = document.querySelector("iframe").contentDocument;
  const seen = (what) => [...page.querySelectorAll(what)].filter((it) => it.getBoundingClientRect().height > 0).length;
  const details = page.querySelector("#older"); details.open = true;
  document.querySelector("output").textContent =
    `rows ${seen(".runs tbody tr")} charts ${seen(".chart .line")} filters ${seen("#filter")}`;
});</script>"##;

/// As wide as a phone: whether anything but a table in its own frame has to be moved sideways.
const PHONE: &str = r#"<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<style>body { margin: 0 }</style><iframe src="index.html" width="390" height="5200" style="border: 0"></iframe><output></output>
<script>addEventListener("load", () => {
  const page = document.querySelector("iframe").contentDocument.documentElement;
  document.querySelector("output").textContent = `width ${page.clientWidth} of ${page.scrollWidth}`;
});</script>"#;

/// What a browser does with a page, driven by a script of its own: says how many rows are left when only failures are asked
/// for, and when nothing fits.
const DRIVER: &str = r#"<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<iframe src="index.html" width="1200" height="900"></iframe><output></output>
<script>addEventListener("load", () => {
  const page = document.querySelector("iframe").contentDocument;
  const form = page.getElementById("filter");
  const left = (name, value) => {
    form.elements[name].value = value;
    form.dispatchEvent(new Event("input"));
    const rows = [...page.querySelectorAll(".runs tbody tr")].filter((it) => !it.hidden);
    return rows.length;
  };
  const failed = left("status", "failed"), none = left("text", "no such thing");
  document.querySelector("output").textContent =
    `failed ${failed} none ${none} said ${form.querySelector("output").textContent}`;
});</script>"#;

#[test]
fn a_browser_shows_it_asks_nobody_and_complains_of_nothing() {
    let Some(browser) = browser() else {
        assert!(std::env::var_os("HPC_CI_FULL").is_none(), "no browser here");
        return;
    };
    let dir = tempfile::TempDir::new().unwrap();
    let page = page(500);
    let noise = "<!doctype html><link rel=icon href=data:,><script>console.error('loud')</script>";
    write(
        dir.path(),
        &[
            ("site/index.html", &page),
            ("site/frame.html", FRAME),
            ("site/driver.html", DRIVER),
            ("site/phone.html", PHONE),
            ("site/noise.html", noise),
        ],
    );
    let log = dir.path().join("log");
    let server = serve(|port| {
        let mut command = Command::new("python3");
        command.args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"]);
        command.arg(dir.path().join("site")).arg(port.to_string());
        command
            .stderr(File::create(&log).unwrap())
            .stdout(Stdio::null());
        command
    });
    let url = |name: &str| format!("http://127.0.0.1:{}/{name}", server.port);
    let open = |options: &[&str], url: &str| -> (String, String) {
        let mut command = Command::new(&browser);
        command.args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--hide-scrollbars",
        ]);
        command.arg(format!(
            "--user-data-dir={}",
            dir.path().join("profile").display()
        ));
        let output = command.args(options).arg(url).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr))
    };

    let (_, said) = open(&["--dump-dom"], &url("noise.html"));
    assert!(
        said.contains("CONSOLE"),
        "a complaint would not be seen: {said}"
    );

    let file = format!("file://{}", dir.path().join("site/index.html").display());
    for url in [url("index.html"), file] {
        let (shown, said) = open(&["--dump-dom"], &url);
        assert!(!said.contains("CONSOLE"), "{said}");
        assert!(
            shown.contains("aria-label=\"Filter the runs\">"),
            "the filters work"
        );
    }
    let (shown, _) = open(&["--dump-dom"], &url("frame.html"));
    assert!(
        shown.contains("<output>rows 500 charts 9 filters 0</output>"),
        "{shown}"
    );
    let (shown, said) = open(&["--dump-dom"], &url("driver.html"));
    let failed = page.matches("<tr data-status=\"failed\"").count();
    let expected = format!("<output>failed {failed} none 0 said 0 of 500 runs</output>");
    assert!(
        shown.contains(&expected) && !said.contains("CONSOLE"),
        "{expected}: {shown}{said}"
    );

    let (shown, _) = open(&["--dump-dom"], &url("phone.html"));
    assert!(
        shown.contains("<output>width 390 of 390</output>"),
        "{shown}"
    );

    let asked = std::fs::read_to_string(&log).unwrap();
    let names: BTreeSet<&str> = asked
        .lines()
        .filter_map(|line| line.split("\"GET ").nth(1)?.split(' ').next())
        .collect();
    let expected = [
        "/driver.html",
        "/frame.html",
        "/index.html",
        "/noise.html",
        "/phone.html",
    ];
    assert_eq!(names, expected.into_iter().collect(), "{asked}");

    let picture = |name: &str, size: &str, scheme: u8| {
        let path = dir.path().join("picture.png");
        let option = format!("--screenshot={}", path.display());
        let theme = format!("--blink-settings=preferredColorScheme={scheme}");
        let size = format!("--window-size={size}");
        open(&[&option, &theme, &size], &url(&format!("{name}.html")));
        // For those who want to look at them.
        if let Some(folder) = std::env::var_os("HPC_CI_TEST_PICTURES") {
            let name = format!("dashboard-{name}-{scheme}.png");
            std::fs::copy(&path, PathBuf::from(folder).join(name)).unwrap();
        }
        std::fs::read(path).unwrap()
    };
    for (name, size) in [("index", "1280,5200"), ("phone", "390,5200")] {
        let (dark, light) = (picture(name, size, 0), picture(name, size, 1));
        assert!(dark.len() > 50_000 && light.len() > 50_000 && dark != light);
    }
}

/// A browser, if this machine has one.
fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path)
        .flat_map(|dir| names.map(|name| dir.join(name)))
        .find(|program| program.is_file())
}
