//! The eleven capabilities of the platform and their aliases.

/// Capability names in the order of their numbers, each with its alias, if it has one.
pub const CAPABILITIES: [(&str, Option<&str>); 11] = [
    ("net.fetch", Some("net")),
    ("fs.read", None),
    ("fs.write", None),
    ("db.query", Some("db")),
    ("ui.render", Some("ui")),
    ("time.now", Some("time")),
    ("random", None),
    ("llm.call", Some("llm")),
    ("actor.spawn", Some("actor_spawn")),
    ("actor.send", Some("actor_send")),
    ("step.input", Some("step_input")),
];

/// The canonical name of a capability given by name or alias; `None` if there is no such one.
/// Case counts.
#[must_use]
pub fn canonical(text: &str) -> Option<&'static str> {
    CAPABILITIES
        .iter()
        .find(|(name, alias)| *name == text || *alias == Some(text))
        .map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn names_and_aliases() {
        for (text, name) in [
            ("net.fetch", Some("net.fetch")),
            ("net", Some("net.fetch")),
            ("actor_send", Some("actor.send")),
            ("step_input", Some("step.input")),
            ("random", Some("random")),
            ("fs", None),
            ("Net.Fetch", None),
            ("net.fetch ", None),
            ("actor", None),
            ("", None),
        ] {
            assert_eq!(canonical(text), name, "{text}");
        }
    }
}
