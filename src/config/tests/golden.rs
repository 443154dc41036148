//! Every file of `tests/data/config` and what is said about it, to the letter.

use std::collections::BTreeMap;
use std::fs;

use super::{fresh, repository};
use crate::base::secret::sha256;
use crate::config::load_text;

#[test]
fn every_problem_is_shown_where_it_is() {
    let folder = repository().join("tests/data/config");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(files.len() > 15, "the files of {} are gone", folder.display());
    let key = |seed: &str| base64_simd::URL_SAFE_NO_PAD.encode_to_string(sha256(seed.as_bytes()));
    let environment = BTreeMap::from(
        [
            ("CLIENT_SECRET", super::CLIENT_SECRET.to_owned()),
            ("SESSION_KEY", key("one")),
            ("OLD_KEY", key("two")),
            ("SHORT_KEY", "c2hvcnQga2V5IG9mIDE2Qg".to_owned()),
            ("ZERO_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned()),
            ("PLACEHOLDER", "changeme".to_owned()),
            ("NUMBER", "12".to_owned()),
            ("EMPTY", String::new()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let said = match load_text(name, &text, &folder, &environment) {
            Ok(settings) => format!("{}{name}: loads\n", settings.warnings),
            Err(problems) => problems.to_string(),
        };
        for secret in environment.values().filter(|value| value.len() > 8) {
            assert!(!said.contains(secret.as_str()), "{name} shows a secret");
        }
        // Values that stand for secrets in the files themselves.
        assert!(!said.contains("hunter2"), "{name} shows a secret:\n{said}");
        fresh(&path.with_extension("expected"), &said);
    }
}
