//! Files that are new in templates/ or playbooks/ must be embedded without a touch of the source: no macro can tell cargo so.
#![expect(clippy::print_stdout, reason = "cargo reads a build script's standard output")]

fn main() {
    println!("cargo::rerun-if-changed=templates");
    println!("cargo::rerun-if-changed=playbooks");
}
