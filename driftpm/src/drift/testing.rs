//! Packages for the unit tests.

use super::container_write::{Module, Package, write_package};
use super::identity::Identity;
use crate::json::{Value, object};

/// A package whose modules are empty.
pub(crate) fn package(id: &str, version: &str, target: &str, modules: &[&str]) -> Vec<u8> {
    let empty = || Value::Array(Vec::new());
    let modules = modules
        .iter()
        .map(|module| Module {
            id: (*module).to_owned(),
            exports: object([("values", empty()), ("consts", empty())]),
            interface: format!(
                "{{\"format\":\"drift-module-interface\",\"module_id\":\"{module}\"}}"
            )
            .into_bytes(),
            payload: format!("{{\"module_id\":\"{module}\",\"version\":\"{version}\"}}")
                .into_bytes(),
        })
        .collect();
    let identity = Identity {
        package_id: id.to_owned(),
        version: version.to_owned(),
        target: target.to_owned(),
    };
    write_package(&Package { identity, build_epoch: None, modules }).unwrap()
}
