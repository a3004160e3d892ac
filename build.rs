//! Files that are new in templates/ or playbooks/ must be embedded without a touch of the source: no macro can tell cargo so.

fn main() {
    println!("cargo::rerun-if-changed=templates");
    println!("cargo::rerun-if-changed=playbooks");
}
