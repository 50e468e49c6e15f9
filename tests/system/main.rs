//! How packages fit into a system: commands by name, machines where not everything can be mounted,
//! `mount -t`, services, the kernel's interpreters, desktops.
//!
//! What only root can arrange says so and passes where somebody else runs it; CI's is root. What
//! needs a program that a machine may lack does the same, unless `EPK_TEST_PROGRAMS` is set.

mod binfmt;
mod desktop;
mod doctor;
mod exec;
mod files;
mod ladder;
mod mounting;
mod pipes;
mod scene;
