//! `drift` as people and programs run it: the real binary in a project folder.

#[path = "drift/commands.rs"]
mod commands;
#[path = "drift/gate.rs"]
mod gate;
#[path = "drift/project.rs"]
mod project;
