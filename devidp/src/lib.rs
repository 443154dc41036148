//! The OpenID provider inside `bearward dev` and the tests.
