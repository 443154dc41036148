//! JSON Web Tokens: header, keys, signature, claims. Rules of our own on top of jsonwebtoken's signatures.
