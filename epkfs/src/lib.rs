//! Mounts EPK packages read-only through FUSE.
