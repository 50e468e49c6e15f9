//! Packages that EXOS refuses: ours must give its code.

use epk_format::signature::Policy;
use epk_format::{OpenOptions, Package};

#[test]
fn every_refused_package_gets_its_code() {
    let Some(folder) = crate::epk_vectors() else { return };
    let folder = folder.join("invalid");
    let mut wrong = Vec::new();
    let rows = crate::table(&folder.join("EXPECTED.tsv"));
    for row in &rows {
        let name = &row["name"];
        let bytes = std::fs::read(folder.join(format!("{name}.epk"))).expect("an image");
        let options = match row["oracle_options"].as_str() {
            "" => OpenOptions::default(),
            _ => OpenOptions { signature: Policy::Required, ..OpenOptions::default() },
        };
        let found = Package::open(bytes, &options).err().and_then(|error| error.code());
        let found = found.map(|code| (code.number().to_string(), code.name().to_owned()));
        let expected = (row["code"].clone(), row["code_name"].clone());
        // 2^25 entries are too many for EXOS's heap (13); here they end with the table (10).
        let heap = name == "toc-count-40000000" && found.as_ref().is_some_and(|f| f.0 == "10");
        if found.as_ref() != Some(&expected) && !heap {
            wrong.push(format!("{name}: {found:?}, expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}
