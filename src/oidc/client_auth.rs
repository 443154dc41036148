//! Form requests on which we prove to be the client.
//!
//! RFC 6749 §2.3.1, RFC 8707 §2. Exactly one method per request and never a credential in the URL (std:34). The
//! body is wiped when the request is dropped.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use super::link::request;
use super::settings::{ClientAuth, Settings};
use crate::base::http_client::{NotSent, TransportError};
use crate::base::secret::Secret;

/// A form that will be sent with our credentials.
pub(super) struct Form<'a> {
    settings: &'a Settings,
    fields: Serializer<'static, String>,
}

impl<'a> Form<'a> {
    /// An empty form.
    pub(super) fn new(settings: &'a Settings) -> Self {
        Self { settings, fields: Serializer::new(String::new()) }
    }

    /// Adds a field.
    pub(super) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.append_pair(name, value);
        self
    }

    /// Adds what the configuration wants in every token request. A field that the protocol sets stays ours.
    pub(super) fn configured(mut self) -> Self {
        for resource in &self.settings.resources {
            self.fields.append_pair("resource", resource);
        }
        for (name, value) in &self.settings.token_params {
            if !OURS.contains(&name.as_str()) {
                self.fields.append_pair(name, value);
            }
        }
        self
    }

    /// The request that carries the form to `endpoint`.
    pub(super) fn into_request(mut self, endpoint: &Url) -> Result<Request<Bytes>, TransportError> {
        let authorization = match &self.settings.client_auth {
            ClientAuth::Basic(secret) => Some(basic(&self.settings.client_id, secret)?),
            ClientAuth::Post(secret) => {
                self.fields.append_pair("client_id", &self.settings.client_id);
                self.fields.append_pair("client_secret", secret.expose());
                None
            }
        };
        let body = Bytes::from_owner(Zeroizing::new(self.fields.finish()));
        let mut request = request(Method::POST, endpoint, body)?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
        Ok(request)
    }
}

/// `client_secret_basic`: both parts are form-encoded before they are joined (std:35).
fn basic(client_id: &str, secret: &Secret<String>) -> Result<HeaderValue, TransportError> {
    let mut pair = Zeroizing::new(String::new());
    pair.extend(byte_serialize(client_id.as_bytes()));
    pair.push(':');
    pair.extend(byte_serialize(secret.expose().as_bytes()));
    let encoded = Zeroizing::new(base64_simd::STANDARD.encode_to_string(pair.as_bytes()));
    let mut value = HeaderValue::from_str(&Zeroizing::new(format!("Basic {}", *encoded)))
        .map_err(|_invalid| TransportError::not_sent(NotSent::Address))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Fields of token requests that the protocol sets.
const OURS: &[&str] = &[
    "grant_type",
    "code",
    "redirect_uri",
    "code_verifier",
    "refresh_token",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "scope",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_and_secret_are_form_encoded_before_they_are_joined() {
        // std:35; the last is RFC 6749's own example.
        let cases = [
            ("a:b", "c:d", "a%3Ab:c%3Ad"),
            ("id", "100%+ é", "id:100%25%2B+%C3%A9"),
            ("s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw", "s6BhdRkqt3:7Fjfp0ZBr1KtDRbnfVdmIw"),
        ];
        for (id, secret, expected) in cases {
            let value = basic(id, &Secret::new(secret.to_owned())).unwrap();
            let encoded = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
            let decoded = base64_simd::STANDARD.decode_to_vec(encoded).unwrap();
            assert_eq!(String::from_utf8(decoded).unwrap(), expected);
            assert!(value.is_sensitive());
        }
        let rfc = basic("s6BhdRkqt3", &Secret::new("gX1fBat3bV".to_owned())).unwrap();
        assert_eq!(rfc.to_str().unwrap(), "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW");
    }
}
