//! Which claims a session keeps, and from which token each is taken.

use super::model::Claims;

/// The claims named in `wanted`, each from the first of `sources` that has it.
///
/// The order of sources decides what a refresh changes: the new ID token, then the new access token, then what was
/// known before.
pub fn choose(wanted: &[String], sources: &[&Claims]) -> Claims {
    wanted
        .iter()
        .filter_map(|name| {
            let value = sources.iter().find_map(|source| source.get(name))?;
            Some((name.clone(), value.clone()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_claim_comes_from_the_first_token_that_has_it() {
        let [id, access, before] = [
            json!({ "groups": ["new"], "aud": "x" }),
            json!({ "groups": ["old"], "roles": ["r"] }),
            json!({ "email": "a@example.com", "roles": ["q"] }),
        ]
        .map(|value| value.as_object().unwrap().clone());
        let wanted = ["groups", "roles", "email", "missing"].map(str::to_owned);
        let chosen = choose(&wanted, &[&id, &access, &before]);
        assert_eq!(json!(chosen), json!({ "groups": ["new"], "roles": ["r"], "email": "a@example.com" }));
    }
}
