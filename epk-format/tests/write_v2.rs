//! Format 2.0.
mod support;
use epk_format::write::{self, Format, Options, Plan, PlanEntry};
use support::{Files, MANIFEST};
#[test]
fn smoke() {
    let mut files = Files::default();
    let e = vec![
        files.add("a/b/c", 0o644, b"hello".repeat(1000)),
        files.add("a/big", 0o644, b"hellx".repeat(100_000)),
        PlanEntry::symlink("l", "a/b"),
        PlanEntry::alias("m", "a/b"),
    ];
    let plan = Plan::new(Format::V2, e).expect("plan");
    let mut out = std::io::Cursor::new(Vec::new());
    let w =
        write::write(&plan, &files, MANIFEST, &Options::default(), None, &(), &mut out).expect("w");
    assert_eq!(w.size, out.get_ref().len() as u64);
}
