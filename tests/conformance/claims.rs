//! What README and SECURITY.md claim leads to the test that holds it: a link whose target is a
//! file of tests, and after `#` a function of it.

use std::fs;
use std::path::Path;

#[test]
fn every_claim_leads_to_a_test_that_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut wrong = Vec::new();
    for document in ["README.md", "SECURITY.md"] {
        let text = fs::read_to_string(root.join(document)).expect("a document");
        let targets = targets(&text);
        assert!(targets.iter().any(|target| target.contains(".rs#")), "{document} has no claim");
        for target in targets {
            let (file, name) = target.split_once('#').unwrap_or((target, ""));
            let found = match fs::read_to_string(root.join(file)) {
                Ok(source) => name.is_empty() || has_function(&source, name),
                Err(_) => root.join(file).is_dir(),
            };
            if !found {
                wrong.push(format!("{document}: `{target}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "these lead nowhere:\n{}", wrong.join("\n"));
}

/// The files that links lead to: `](PATH)`, where PATH has no scheme.
fn targets(text: &str) -> Vec<&str> {
    let after = text.split("](").skip(1);
    let targets = after.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets.filter(|target| !target.contains("://") && !target.starts_with('#')).collect()
}

fn has_function(source: &str, name: &str) -> bool {
    source.contains(&format!("fn {name}(")) || source.contains(&format!("def {name}("))
}
