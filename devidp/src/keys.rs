//! The signing keys, the published set, and signing itself.
//!
//! Signs with aws-lc-rs directly: the gateway verifies with another crate, so a mistake cannot cancel out.

use std::io;
use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256};
use aws_lc_rs::{error::Unspecified, hmac};
use base64_simd::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::crypto::random_string;
use crate::settings::SigningAlgorithm;

/// The keys of a provider.
#[derive(Debug)]
pub(crate) struct Keys {
    current: Arc<SigningKey>,
    published: Vec<Arc<SigningKey>>,
}

impl Keys {
    pub(crate) fn generate(algorithm: SigningAlgorithm) -> io::Result<Self> {
        let current = Arc::new(SigningKey::generate(algorithm)?);
        Ok(Self { published: vec![Arc::clone(&current)], current })
    }

    pub(crate) fn current(&self) -> Arc<SigningKey> {
        Arc::clone(&self.current)
    }

    /// Signs with a new key from now on; the old ones stay in the set.
    pub(crate) fn rotate(&mut self, next: SigningKey) {
        self.current = Arc::new(next);
        self.published.insert(0, Arc::clone(&self.current));
        self.published.truncate(MOST_KEYS);
    }

    /// Takes all but the current key out of the set.
    pub(crate) fn forget_old(&mut self) {
        self.published = vec![Arc::clone(&self.current)];
    }

    pub(crate) fn jwks(&self) -> Vec<Map<String, Value>> {
        self.published.iter().map(|key| key.jwk.clone()).collect()
    }
}

/// One key pair.
#[derive(Debug)]
pub(crate) struct SigningKey {
    kid: String,
    algorithm: SigningAlgorithm,
    pair: Pair,
    jwk: Map<String, Value>,
    public_der: Vec<u8>,
}

#[derive(Debug)]
enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
}

impl SigningKey {
    pub(crate) fn generate(algorithm: SigningAlgorithm) -> io::Result<Self> {
        let kid = random_string();
        let made = match algorithm {
            SigningAlgorithm::Es256 => Self::generate_ec(kid),
            SigningAlgorithm::Rs256 => Self::generate_rsa(kid),
        };
        made.map_err(|Unspecified| io::Error::other("no signing key could be made"))
    }

    fn generate_ec(kid: String) -> Result<Self, Unspecified> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        // SEC 1 §2.3.3: an uncompressed point is 04, x, y.
        let point = pair.public_key().as_ref().get(1..).ok_or(Unspecified)?;
        let (x, y) = point.split_at_checked(32).ok_or(Unspecified)?;
        let public = json!({ "kty": "EC", "crv": "P-256", "x": base64(x), "y": base64(y) });
        let public_der = pair.public_key().as_der()?.as_ref().to_vec();
        Ok(Self::assemble(kid, SigningAlgorithm::Es256, Pair::Ec(Box::new(pair)), public, public_der))
    }

    fn generate_rsa(kid: String) -> Result<Self, Unspecified> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
        let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let public = json!({ "kty": "RSA", "n": base64(&n), "e": base64(&e) });
        let public_der = pair.public_key().as_der()?.as_ref().to_vec();
        Ok(Self::assemble(kid, SigningAlgorithm::Rs256, Pair::Rsa(Box::new(pair)), public, public_der))
    }

    fn assemble(
        kid: String,
        algorithm: SigningAlgorithm,
        pair: Pair,
        public: Value,
        public_der: Vec<u8>,
    ) -> Self {
        let mut jwk = Map::new();
        jwk.insert("kid".into(), kid.as_str().into());
        jwk.insert("use".into(), "sig".into());
        jwk.insert("alg".into(), algorithm.name().into());
        if let Value::Object(public) = public {
            jwk.extend(public);
        }
        Self { kid, algorithm, pair, jwk, public_der }
    }

    /// `alg`, `kid` and this `typ`.
    pub(crate) fn header(&self, typ: &str) -> Map<String, Value> {
        let mut header = Map::new();
        header.insert("alg".into(), self.algorithm.name().into());
        header.insert("kid".into(), self.kid.as_str().into());
        header.insert("typ".into(), typ.into());
        header
    }

    /// The `SubjectPublicKeyInfo` in DER.
    pub(crate) fn public_der(&self) -> &[u8] {
        &self.public_der
    }

    pub(crate) fn into_jwk(self) -> Map<String, Value> {
        self.jwk
    }

    /// The compact form, signed.
    pub(crate) fn sign(&self, header: &Map<String, Value>, payload: &str) -> String {
        let message = message(header, payload);
        let signature = self.signature(message.as_bytes()).unwrap_or_default();
        format!("{message}.{}", base64(&signature))
    }

    /// The compact form with one bit of the signature flipped.
    pub(crate) fn sign_badly(&self, header: &Map<String, Value>, payload: &str) -> String {
        let message = message(header, payload);
        let mut signature = self.signature(message.as_bytes()).unwrap_or_default();
        if let Some(byte) = signature.last_mut() {
            *byte ^= 1;
        }
        format!("{message}.{}", base64(&signature))
    }

    // A signature that fails for want of memory is an empty one; whoever verifies it will say so.
    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec(pair) => Ok(pair.sign(&random, message)?.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)?;
                Ok(signature)
            }
        }
    }
}

/// The compact form with an empty signature.
pub(crate) fn unsigned(header: &Map<String, Value>, payload: &str) -> String {
    format!("{}.", message(header, payload))
}

/// The compact form with HS256.
pub(crate) fn sign_hs256(secret: &[u8], header: &Map<String, Value>, payload: &str) -> String {
    let message = message(header, payload);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", base64(tag.as_ref()))
}

/// The payload of a compact form, without verifying anything.
pub(crate) fn unverified_claims(token: &str) -> Option<Map<String, Value>> {
    let payload = URL_SAFE_NO_PAD.decode_to_vec(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

fn message(header: &Map<String, Value>, payload: &str) -> String {
    let header = serde_json::to_string(header).unwrap_or_default();
    format!("{}.{}", base64(header.as_bytes()), base64(payload.as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode_to_string(bytes)
}

/// More than any test rotates, few enough that the set stays small.
const MOST_KEYS: usize = 16;
