//! `drift` as people and programs run it: the real binary in a project folder.

#[path = "drift/building.rs"]
mod building;
#[path = "drift/commands.rs"]
mod commands;
#[path = "drift/gate.rs"]
mod gate;
#[path = "drift/native.rs"]
mod native;
#[path = "drift/project.rs"]
mod project;
#[path = "drift/projects.rs"]
mod projects;
#[path = "drift/repository.rs"]
mod repository;
mod scripts;
#[path = "drift/versions.rs"]
mod versions;
