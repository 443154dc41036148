//! What a provider has seen of one refresh token.

/// One use of a refresh token, as the provider saw it.
#[derive(Debug, Clone)]
pub(super) struct Sight {
    /// When it came, and when its fate was known.
    pub(super) began: u64,
    pub(super) at: u64,
    pub(super) replica: usize,
    pub(super) fate: Fate,
    /// What it got, for providers that give it again.
    pub(super) got: Option<(u64, u64)>,
    /// Whether others take it for one that was not answered.
    pub(super) lapsed: bool,
    /// Whether it got an access token only, and may come again.
    pub(super) kept: bool,
}

/// How an attempt went, as far as the gateway can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is not answered yet.
    Under,
    /// It was answered with tokens.
    Granted,
    /// It was answered, and the token is as it was.
    Refused,
    /// Nobody got the answer.
    Unknown,
}

/// What was seen of a token since an answer left it as it was: it may come again then, and the count begins anew.
pub(super) fn since_it_stayed(sights: &[Sight], counts: impl Fn(&Sight) -> bool) -> &[Sight] {
    let from = sights.iter().rposition(|sight| sight.kept && counts(sight)).map_or(0, |last| last + 1);
    &sights[from..]
}
