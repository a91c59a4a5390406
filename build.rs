//! Compiles the library that is loaded into the ranks of steps: it is part of the program, so that no cluster needs a compiler for it.

use std::path::Path;

fn main() {
    let source = "src/launch/world.c";
    println!("cargo:rerun-if-changed={source}");
    let out = std::env::var_os("OUT_DIR").expect("cargo says where output goes");
    let library = Path::new(&out).join("libworld.so");
    let status = cc::Build::new()
        .get_compiler()
        .to_command()
        .args([
            "-std=gnu99",
            "-O2",
            "-shared",
            "-fPIC",
            "-fvisibility=hidden",
        ])
        .args([
            "-fno-stack-protector",
            "-fno-builtin",
            "-w",
            "-nostdlib",
            "-s",
            "-o",
        ])
        .arg(&library)
        .arg(source)
        .status();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "`{source}` does not compile ({status:?}): a C compiler for the target is needed, which `CC` may name"
    );
}
