//! Keys and tokens for tests, good and bad.
//!
//! Signs with aws-lc-rs directly, not with the library under test.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RsaKeyPair, RsaPublicKeyComponents,
};
use aws_lc_rs::{hmac, rsa};
use serde_json::{Value, json};

/// Something that signs.
pub(crate) enum Forge {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Secret(Vec<u8>),
}

/// Made once: an RSA key costs a test a second.
pub(crate) static RSA: LazyLock<Forge> =
    LazyLock::new(|| Forge::Rsa(RsaKeyPair::generate(rsa::KeySize::Rsa2048).unwrap()));
pub(crate) static P256: LazyLock<Forge> = LazyLock::new(Forge::p256);
pub(crate) static P384: LazyLock<Forge> =
    LazyLock::new(|| Forge::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()));
pub(crate) static ED25519: LazyLock<Forge> =
    LazyLock::new(|| Forge::Ed25519(Ed25519KeyPair::generate().unwrap()));

impl Forge {
    /// A fresh key on P-256.
    pub(crate) fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    /// A token with `alg` and the members of `header`.
    pub(crate) fn token(&self, alg: &str, mut header: Value, claims: &Value) -> String {
        header["alg"] = json!(alg);
        self.sign(alg, &header.to_string(), &claims.to_string())
    }

    /// A token of exactly these bytes, signed by the rules of `alg`.
    pub(crate) fn sign(&self, alg: &str, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(payload.as_bytes()));
        let signature = self.raw(alg, signed.as_bytes());
        format!("{signed}.{}", encode(&signature))
    }

    fn raw(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let padding: &'static dyn signature::RsaEncoding = match alg {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut out = vec![0; key.public_modulus_len()];
                key.sign(padding, &random, message, &mut out).unwrap();
                out
            }
            Self::P256(key) | Self::P384(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
            Self::Secret(secret) => {
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
            }
        }
    }

    /// The public key with the members of `extra`; `null` there removes a member.
    pub(crate) fn jwk(&self, extra: Value) -> Value {
        let mut jwk = match self {
            Self::Rsa(key) => {
                let parts = RsaPublicKeyComponents::<Vec<u8>>::from(key.public_key());
                json!({"kty": "RSA", "n": encode(&parts.n), "e": encode(&parts.e)})
            }
            Self::P256(key) => elliptic("P-256", key),
            Self::P384(key) => elliptic("P-384", key),
            Self::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key().as_ref())})
            }
            Self::Secret(secret) => json!({"kty": "oct", "k": encode(secret)}),
        };
        for (name, value) in extra.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        jwk.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        jwk
    }
}

fn elliptic(curve: &str, key: &EcdsaKeyPair) -> Value {
    let (x, y) = key.public_key().as_ref()[1..].split_at(key.public_key().as_ref().len() / 2);
    json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
}

/// base64url without padding.
pub(crate) fn encode(bytes: &[u8]) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
}
