//! Which claims a session keeps, and from which token each is taken.

use super::model::Claims;

/// The claims named in `wanted`, each from the first of `sources` that has it.
///
pub fn choose(wanted: &[String], sources: &[&Claims]) -> Claims {
    wanted
        .iter()
        .filter_map(|name| {
            let value = sources.iter().find_map(|source| source.get(name))?;
            Some((name.clone(), value.clone()))
        })
        .collect()
}

/// The claims after a refresh: from the new ID token, then from the new access token.
///
/// A new ID token that has any of the wanted claims speaks for all of them: one that it lacks was taken away at the
/// provider. Some providers send an ID token without them at a refresh, or none at all; then those of before stay.
pub fn renew(wanted: &[String], from_id: &Claims, from_access: &Claims, before: &Claims) -> Claims {
    if wanted.iter().any(|name| from_id.contains_key(name)) {
        choose(wanted, &[from_id, from_access])
    } else {
        choose(wanted, &[from_access, before])
    }
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

    #[test]
    fn a_claim_that_was_taken_away_is_gone_after_the_refresh() {
        let map = |value: serde_json::Value| value.as_object().unwrap().clone();
        let wanted = ["groups", "email"].map(str::to_owned);
        let before = map(json!({ "groups": ["admins"], "email": "a@example.com" }));
        let none = map(json!({}));
        let renewed = |from_id, from_access| json!(renew(&wanted, &map(from_id), &map(from_access), &before));
        assert_eq!(
            renewed(json!({ "email": "b@example.com" }), json!({})),
            json!({ "email": "b@example.com" })
        );
        assert_eq!(
            renewed(json!({ "sub": "alice" }), json!({})),
            json!(before),
            "an ID token without any of them"
        );
        assert_eq!(
            renewed(json!({}), json!({ "groups": [] })),
            json!({ "groups": [], "email": "a@example.com" })
        );
        assert_eq!(json!(renew(&wanted, &none, &none, &before)), json!(before));
    }
}
