//! `provider`: the OpenID provider and our client there, as typed.

use std::path::PathBuf;

use crate::config::reader::{At, section, words};
use crate::config::secrets::{MaskedText, SecretText, UnreadSecret};
use crate::config::values::{Map, Period};

section! {
    /// The OpenID provider and our client there.
    Provider
    required {
        /// The issuer identifier, exactly as the provider's discovery document spells it.
        issuer: String,
        /// The client identifier.
        client_id: String,
    }
    optional {
        /// The client secret, for `client_secret_basic` and `client_secret_post`.
        client_secret: SecretText,
        /// A PEM file of the certificates that vouch for the provider, instead of the machine's roots.
        ca_file: PathBuf,
        /// Where users go after the provider's logout. The provider decides where it is not given.
        post_logout_redirect_uri: String,
    }
    defaults {
        /// How the client authenticates at the token endpoint.
        client_auth: ClientAuth = {},
        /// `scope` of the authorization request. `offline_access` asks most providers for a refresh token.
        scopes: Vec<At<String>> = ["openid", "profile", "email", "offline_access"],
        /// Further parameters of the authorization request, such as `audience`.
        authorization_params: Map<MaskedText> = {},
        /// Further parameters of every token request.
        token_params: Map<MaskedText> = {},
        /// Absolute URIs for the `resource` parameter (RFC 8707).
        resources: Vec<At<String>> = [],
        /// Whether a login without a refresh token is refused.
        require_refresh_token: bool = false,
        /// Signature algorithms an ID token may use. `HS256` and its like only where they are listed.
        id_token_algorithms: Vec<At<String>> = ["RS256", "PS256", "ES256", "EdDSA"],
        /// Audiences besides our client id that an ID token may name.
        trusted_audiences: Vec<At<String>> = [],
        /// How far the provider's clock may differ from ours; at most 5 minutes.
        clock_leeway: Period = "60s",
        /// How long one request to the provider may take in all.
        timeout: Period = "15s",
        /// An access token's life where the provider tells neither `expires_in` nor `exp`.
        default_token_life: Period = "5m",
        /// How long the provider itself accepts a refresh token that was spent already.
        reuse_interval: Period = "0s",
    }
}

section! {
    /// How the client authenticates at the token endpoint.
    ClientAuth
    optional {
        /// The key of `private_key_jwt`. Not supported yet.
        key: UnreadSecret,
    }
    defaults {
        /// The method registered at the provider.
        method: ClientAuthMethod = "client_secret_basic",
    }
}

words! {
    /// A client authentication method.
    ClientAuthMethod {
        /// The secret in the `Authorization` header.
        Basic = "client_secret_basic",
        /// The secret in the request's body.
        Post = "client_secret_post",
        /// A signed assertion (RFC 7523). Not supported yet.
        PrivateKeyJwt = "private_key_jwt",
    }
}
