//! What `pkgtool pack` says of targets that could not be run.

mod support;

use support::Place;

/// The beginning of an ELF file.
fn program(class: u8, machine: u8) -> Vec<u8> {
    let mut head = b"\x7fELF".to_vec();
    head.extend([class, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, machine, 0]);
    head
}

fn warnings(bytes: &[u8], mode: u32) -> Vec<String> {
    let place = Place::empty();
    place.file("app/bin/app", bytes, mode);
    let packed = place.pack(&[]);
    assert_eq!(packed.code, Some(0), "{}", packed.stderr);
    let lines = packed.stderr.lines().filter(|line| line.starts_with("warning: "));
    lines.map(str::to_owned).collect()
}

#[test]
fn programs_for_another_machine_are_named() {
    let said = |what: &str| vec![format!("warning: manifest: `entry`: `/bin/app` {what}")];
    let none: Vec<String> = Vec::new();
    // What follows the head does not matter.
    assert_eq!(warnings(&[program(2, 62), vec![0; 100_000]].concat(), 0o755), none);
    assert_eq!(warnings(b"#!/bin/sh\n", 0o755), none);
    assert_eq!(warnings(b"", 0o755), none);
    assert_eq!(warnings(&program(1, 3), 0o755), said("is for x86-32, and `arch` says x86-64"));
    assert_eq!(warnings(&program(2, 183), 0o755), said("is for aarch64, and `arch` says x86-64"));
    let x32 = "is for machine 62 with 32 bits, and `arch` says x86-64";
    assert_eq!(warnings(&program(1, 62), 0o755), said(x32));
    assert_eq!(warnings(&program(1, 3), 0o644), said("has no permission to execute"));
}
