//! What lies in the store, as bytes: a version, a layout, a seal.
//!
//! A layout that changes gets a new version, which the release before must be able to read: replicas of two
//! releases run side by side during a deploy. Golden bytes of each version are in `tests/data`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::session::cookie::seal::{OpenError, Sealer};
use crate::session::denied::Denial;
use crate::session::model::{Generation, SessionId};
use crate::session::refresh::record::generations::Generations;
use crate::session::refresh::stored::Stored;

const VERSION: u8 = 1;

/// A record, sealed.
pub(super) fn seal(sealer: &Sealer, record: &Stored) -> Option<Vec<u8>> {
    sealed(sealer, plain(&("record", record))?)
}

/// Opens a record.
pub(crate) fn open(sealer: &Sealer, value: &[u8]) -> Result<Stored, OpenError> {
    let (kind, record): (String, Stored) = opened(sealer, value)?;
    if kind == "record" { Ok(record) } else { Err(OpenError::Forged) }
}

/// What everyone is told of a record that was written.
pub(super) fn note(sealer: &Sealer, record: &Stored) -> Option<Vec<u8>> {
    sealed(sealer, plain(&("note", record.sid, record.newest, &record.generations))?)
}

/// What a note says.
pub(super) fn read_note(
    sealer: &Sealer,
    value: &[u8],
) -> Result<(SessionId, Generation, Generations), OpenError> {
    let (kind, sid, newest, generations): (String, _, _, _) = opened(sealer, value)?;
    if kind == "note" { Ok((sid, newest, generations)) } else { Err(OpenError::Forged) }
}

/// A denial, sealed.
pub(super) fn seal_denial(sealer: &Sealer, denial: &Denial) -> Option<Vec<u8>> {
    sealed(sealer, plain(&("denial", denial))?)
}

/// Opens a denial.
pub(super) fn open_denial(sealer: &Sealer, value: &[u8]) -> Result<Denial, OpenError> {
    let (kind, denial): (String, Denial) = opened(sealer, value)?;
    if kind == "denial" { Ok(denial) } else { Err(OpenError::Forged) }
}

/// A value's bytes: the version, then the layout.
fn plain(value: &impl Serialize) -> Option<Vec<u8>> {
    postcard::to_extend(value, vec![VERSION]).ok()
}

fn sealed(sealer: &Sealer, plain: Vec<u8>) -> Option<Vec<u8>> {
    sealer.seal(plain).ok().map(String::into_bytes)
}

fn opened<T: DeserializeOwned>(sealer: &Sealer, value: &[u8]) -> Result<T, OpenError> {
    let mut buffer = Vec::new();
    match sealer.open(value, &mut buffer)?.split_first() {
        Some((&VERSION, layout)) => postcard::from_bytes(layout).map_err(|_| OpenError::UnknownVersion),
        Some(_) | None => Err(OpenError::UnknownVersion),
    }
}

#[cfg(test)]
mod tests;
