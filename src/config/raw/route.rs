//! `routes` and `bearer`: who may pass and where to, as typed.

use crate::config::reader::{At, section, words};
use crate::config::secrets::UnreadSecret;
use crate::config::values::Map;

section! {
    /// A match rule with its authentication and policy.
    Route
    required {
        /// `/api/*` is `/api` and everything below it; `/health` is that path alone; `/*` is everything.
        path: String,
        /// The URL of an upstream, or the name of one under `upstreams`.
        upstream: String,
        /// Who may pass. There is no default: nothing is open by omission.
        auth: Auth,
    }
    optional {
        /// The host it serves, without port. Every host where it is not given.
        host: String,
        /// The methods it serves. All of them where it is not given.
        methods: Vec<At<String>>,
        /// What the caller's token or claims must hold. Not supported yet.
        require: Require,
    }
    defaults {
        /// Whether its requests may cause a refresh. `false` for responses that cannot carry a cookie.
        refresh: bool = true,
        /// Header fields of the forwarded request.
        headers: Headers = {},
    }
}

words! {
    /// Who may pass.
    Auth {
        /// Whoever has a session.
        Session = "session",
        /// Everyone.
        None = "none",
        /// Whoever brings a valid access token. Not supported yet.
        Bearer = "bearer",
        /// Whoever has a session or brings a valid access token. Not supported yet.
        Any = "any",
        /// Everyone; with a session, its token and claims are passed on. Not supported yet.
        Optional = "optional",
    }
}

section! {
    /// Header fields of the forwarded request.
    Headers
    defaults {
        /// Fields made from claims: `X-Forwarded-User: "{sub}"`. `{{` stands for a brace. What the client sent
        /// under the same name is removed.
        set: Map<String> = {},
    }
}

section! {
    /// What the caller's token or claims must hold.
    #[expect(dead_code, reason = "declared so that it is refused by name")]
    Require
    defaults {
        /// Scopes, all of them.
        scopes: Vec<At<String>> = [],
        /// Claims, all of them.
        claims: Map<ClaimRule> = {},
    }
}

section! {
    /// What a claim must hold.
    #[expect(dead_code, reason = "declared so that it is refused by name")]
    ClaimRule
    optional {
        /// It is this text.
        equals: String,
        /// It is a list with this item.
        contains: String,
        /// It is one of these.
        one_of: Vec<At<String>>,
    }
}

section! {
    /// An issuer of access tokens that API clients bring themselves.
    #[expect(dead_code, reason = "declared so that it is refused by name")]
    Bearer
    required {
        /// The issuer identifier.
        issuer: String,
    }
    optional {
        /// How opaque tokens are looked up.
        introspection: Introspection,
    }
    defaults {
        /// Audiences of which a token must name one.
        audiences: Vec<At<String>> = [],
    }
}

section! {
    /// The introspection endpoint of an issuer (RFC 7662).
    #[expect(dead_code, reason = "declared so that it is refused by name")]
    Introspection
    required {
        /// The endpoint's URL.
        endpoint: String,
        /// Our client identifier there.
        client_id: String,
        /// Our client secret there.
        client_secret: UnreadSecret,
    }
}
