//! `routes` and `bearer`: who may pass and where to, as typed.

use crate::config::reader::{At, section, words};
use crate::config::secrets::UnreadSecret;
use crate::config::values::{Map, Period, Size};

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
        /// The body of a request. `limits.body_bytes` where it is not given.
        body_bytes: Size,
        /// The methods it serves. All of them where it is not given.
        methods: Vec<At<String>>,
        /// What the upstream sees in place of the beginning of the path. All of the path as it is where it is not given.
        rewrite: Rewrite,
        /// What the caller's token or claims must hold. Not supported yet.
        require: Require,
        /// Which other origins may read its responses, in place of the `cors` of the file.
        cors: Cors,
    }
    defaults {
        /// Whether its requests may cause a refresh. `false` for responses that cannot carry a cookie.
        refresh: bool = true,
        /// Header fields of the forwarded request.
        headers: Headers = {},
        /// How long its responses may go on; they end with their session in any case.
        stream: Stream = {},
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
    /// Which pages of other origins may read what is answered. Where this is given, or `auth` is not `none`, the gateway
    /// answers preflights itself and drops the upstream's own `Access-Control-*`.
    Cors
    defaults {
        /// The origins, in full: `https://spa.example.com`. None by default; there is no `*`.
        origins: Vec<At<String>> = [],
        /// Methods that they may use. Those that the route serves where the list is empty.
        methods: Vec<At<String>> = [],
        /// Request fields that they may set.
        headers: Vec<At<String>> = ["Content-Type", "X-Requested-With"],
        /// Response fields that they may read, beyond those that are always readable.
        expose_headers: Vec<At<String>> = [],
        /// Whether their requests may carry cookies. Such requests count as sent by a page of ours.
        credentials: bool = true,
        /// How long a browser may remember the answer to a preflight.
        max_age: Period = "10m",
    }
}

section! {
    /// What the upstream sees in place of the beginning of the path.
    Rewrite
    required {
        /// What goes: `/api`, with which every path of the route begins. `/` takes nothing away.
        prefix: String,
    }
    defaults {
        /// What comes in its place: `/v1`. `/` puts nothing there.
        with: String = "/",
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
    /// How long responses may go on that do not end by themselves: WebSockets, event streams.
    Stream
    optional {
        /// The longest, from the request on. No limit where it is not given.
        limit: Period,
    }
    defaults {
        /// What becomes of a response when the access token runs out that its request was forwarded with.
        token: WhenTokenEnds = "ignore",
    }
}

words! {
    /// What becomes of a response when its request's access token runs out.
    WhenTokenEnds {
        /// It goes on, as long as the session lives.
        Ignore = "ignore",
        /// It is closed. The client comes back with a new request, which gets a fresh token.
        Close = "close",
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
