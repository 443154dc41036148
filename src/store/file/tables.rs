//! What stands in the file: records, the log, and when each of them is over.
//!
//! Records: the key's hash → the end of its life, the version, the value. Log: number → the end of its life, the entry.
//! Ends: end, kind and name → nothing, so that what is over is found without a look at the rest.

use redb::{Database, Error, ReadableTable as _, Table, TableDefinition, WriteTransaction};

use crate::base::time::Timestamp;
use crate::store::{Key, Version};

const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const ENDS: TableDefinition<'_, &[u8], ()> = TableDefinition::new("ends");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

/// The tables, open for writing.
pub(super) struct Tables<'txn> {
    records: Table<'txn, &'static [u8], &'static [u8]>,
    log: Table<'txn, u64, &'static [u8]>,
    ends: Table<'txn, &'static [u8], ()>,
    numbers: Table<'txn, &'static str, u64>,
}

/// A record as it stands there.
pub(super) struct Record {
    until: Timestamp,
    pub(super) version: Version,
    pub(super) value: Vec<u8>,
}

/// Makes what is missing. Says whether the file's form is ours.
pub(super) fn prepare(database: &Database) -> Result<bool, Error> {
    let transaction = database.begin_write()?;
    let form = {
        let mut tables = Tables::open(&transaction)?;
        let known = tables.numbers.get("form")?.map(|form| form.value());
        if known.is_none() {
            tables.numbers.insert("form", FORM)?;
        }
        known.unwrap_or(FORM)
    };
    if form == FORM {
        transaction.commit()?
    } else {
        transaction.abort()?
    }
    Ok(form == FORM)
}

impl<'txn> Tables<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self, Error> {
        Ok(Self {
            records: transaction.open_table(RECORDS)?,
            log: transaction.open_table(LOG)?,
            ends: transaction.open_table(ENDS)?,
            numbers: transaction.open_table(NUMBERS)?,
        })
    }

    /// The record of `key`, unless it is over.
    pub(super) fn record(&self, key: Key, now: Timestamp) -> Result<Option<Record>, Error> {
        Ok(self.stored(key)?.filter(|record| now < record.until))
    }

    fn stored(&self, key: Key) -> Result<Option<Record>, Error> {
        let stored = self.records.get(key.as_bytes().as_slice())?;
        stored.map(|bytes| parse_record(bytes.value()).ok_or_else(broken)).transpose()
    }

    /// Writes a record over whatever is there.
    pub(super) fn write(
        &mut self,
        key: Key,
        version: Version,
        value: &[u8],
        until: Timestamp,
    ) -> Result<(), Error> {
        let key = key.as_bytes();
        if let Some(before) = self.stored(Key(*key))? {
            self.ends.remove(end(before.until, RECORD, key).as_slice())?;
        }
        let bytes = [&until.as_millis().to_be_bytes()[..], version.as_bytes(), value].concat();
        self.records.insert(key.as_slice(), bytes.as_slice())?;
        self.ends.insert(end(until, RECORD, key).as_slice(), ())?;
        Ok(())
    }

    /// Appends an entry and gives its number.
    pub(super) fn append(&mut self, entry: &[u8], until: Timestamp) -> Result<u64, Error> {
        // Never a number twice, though all entries may be gone.
        let number = self.numbers.get("last")?.map_or(0, |last| last.value()) + 1;
        self.numbers.insert("last", number)?;
        let bytes = [&until.as_millis().to_be_bytes()[..], entry].concat();
        self.log.insert(number, bytes.as_slice())?;
        self.ends.insert(end(until, ENTRY, &number.to_be_bytes()).as_slice(), ())?;
        Ok(number)
    }

    /// Entries after `after` that are not over, and the number of the last one looked at.
    pub(super) fn entries(&self, after: u64, now: Timestamp) -> Result<(Vec<Vec<u8>>, u64), Error> {
        let (mut entries, mut last) = (Vec::new(), after);
        for found in self.log.range(after.saturating_add(1)..)? {
            let (number, bytes) = found?;
            let (until, entry) = parse_until(bytes.value()).ok_or_else(broken)?;
            last = number.value();
            if now < until {
                entries.push(entry.to_vec());
            }
            if entries.len() == BATCH {
                break;
            }
        }
        Ok((entries, last))
    }

    /// Deletes some of what is over.
    pub(super) fn sweep(&mut self, now: Timestamp) -> Result<(), Error> {
        for _ in 0..SWEPT {
            let first = self.ends.first()?.map(|(end, _)| end.value().to_vec());
            let Some(end) = first else { return Ok(()) };
            let (until, name) = parse_until(&end).ok_or_else(broken)?;
            if now < until {
                return Ok(());
            }
            let (kind, name) = name.split_first().ok_or_else(broken)?;
            if *kind == RECORD {
                self.records.remove(name)?;
            } else {
                let number = name.try_into().map_err(|_| broken())?;
                self.log.remove(u64::from_be_bytes(number))?;
            }
            self.ends.remove(end.as_slice())?;
        }
        Ok(())
    }
}

fn end(until: Timestamp, kind: u8, name: &[u8]) -> Vec<u8> {
    // Big-endian times after the epoch sort as they pass.
    [&until.as_millis().to_be_bytes()[..], &[kind], name].concat()
}

fn parse_until(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (until, rest) = bytes.split_first_chunk::<8>()?;
    Some((Timestamp::from_millis(i64::from_be_bytes(*until)), rest))
}

fn parse_record(bytes: &[u8]) -> Option<Record> {
    let (until, rest) = parse_until(bytes)?;
    let (version, value) = rest.split_first_chunk::<16>()?;
    Some(Record { until, version: Version::from_bytes(*version), value: value.to_vec() })
}

fn broken() -> Error {
    Error::Corrupted("a value is too short".to_owned())
}

/// The form of the tables. Another number is another form.
const FORM: u64 = 1;
const RECORD: u8 = 0;
const ENTRY: u8 = 1;
/// How many entries one look at the log brings.
const BATCH: usize = 500;
/// What is deleted with one commit: more than one commit of one operation can add.
const SWEPT: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::file::{FileError, Missing, open};

    #[test]
    fn a_form_of_another_version_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(NUMBERS).unwrap().insert("form", FORM + 1).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = open(&path, Missing::Made).unwrap_err();
        assert!(matches!(error, FileError::Unknown { .. }), "{error:?}");
        assert!(error.to_string().contains("start the release that wrote it"), "{error}");
        let database = Database::builder().open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        assert_eq!(transaction.open_table(NUMBERS).unwrap().get("form").unwrap().unwrap().value(), FORM + 1);
        assert_eq!(transaction.list_tables().unwrap().count(), 1, "nothing was added to it");
    }
}
