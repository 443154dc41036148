//! Golden values of everything that lies in the store, and what opens as what.

use std::fmt::Write as _;
use std::time::Duration;

use super::*;
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::session::cookie::seal::Purpose;
use crate::session::refresh::record::tests::START;
use crate::session::refresh::record::{EndCause, Repeat};
use crate::session::refresh::stored::{Ask, Claim, Kept, Process, Release};
use crate::session::settings::{AfterUnknown, Key};

fn sealer() -> Sealer {
    let key = Key { id: "golden".to_owned(), bytes: Secret::new([0x42; 32]) };
    Sealer::new(&[key], Purpose::Store, "record").unwrap()
}

fn at(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

fn sid() -> SessionId {
    SessionId::from_bytes([9; 16])
}

fn claimed(found: Option<&Stored>, ask: &Ask, now: Timestamp) -> Stored {
    let Claim::Granted(record, _) = Stored::claim(found, ask, now) else { panic!("not granted") };
    *record
}

fn written(kept: Kept) -> Stored {
    let Kept::Write(record) = kept else { panic!("not written") };
    *record
}

/// Every state that a record can be in, by name.
fn records() -> Vec<(String, Stored)> {
    let ask = |generation| Ask {
        sid: sid(),
        generation,
        process: Process { holder: 0x0123_4567_89ab_cdef, alone_since: None },
        attempt: 0xfedc_ba98_7654_3210,
        repeat: Repeat::First,
        term: Duration::from_secs(17),
        after_unknown: AfterUnknown::RetryOnce,
    };
    let leased = claimed(None, &ask(1), at(0));
    let judged = written(Stored::keep(Some(&leased), &ask(1), "1.golden.kept".into()));
    let made = written(Stored::finish(Some(&judged), &ask(1), "1.golden.made".into()));
    let grace = Duration::from_secs(300);
    let shown = |record: &Stored, generation, now| {
        Stored::acknowledge(Some(record), (sid(), generation), || None, now, grace).unwrap()
    };
    let shown = shown(&shown(&made, 2, at(1)), 3, at(2));
    let unknown = leased.release(&ask(1), Release::Unknown, at(3)).unwrap();
    let repeated = claimed(Some(&unknown), &Ask { attempt: 7, ..ask(1) }, at(60));
    let spent = repeated.release(&Ask { attempt: 7, ..ask(1) }, Release::Unknown, at(61)).unwrap();
    let named = [
        ("leased", leased),
        ("judged", judged),
        ("made", made.clone()),
        ("shown", shown),
        ("unknown", unknown),
        ("repeated", repeated),
        ("spent", spent),
    ];
    let ended = EndCause::ALL
        .iter()
        .map(|cause| (format!("ended-{}", cause.label()), Stored::end(Some(&made), sid(), *cause).unwrap()));
    named.into_iter().map(|(name, record)| (name.to_owned(), record)).chain(ended).collect()
}

fn denials() -> Vec<(String, Denial)> {
    let subject = |issuer: &str, subject: &str| Denial::Subject {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        before: at(5),
    };
    let others = [
        ("tagged", Denial::Tagged { tag: 0x0123_4567_89ab_cdef }),
        ("subject", subject("https://id.example.com", "alice")),
        ("everyone", Denial::Everyone { before: at(5) }),
    ];
    let sessions = EndCause::ALL.iter().map(|cause| {
        (format!("session-{}", cause.label()), Denial::Session { sid: sid(), cause: (*cause).into() })
    });
    sessions.chain(others.map(|(name, denial)| (name.to_owned(), denial))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Compares a value of today with its line in the golden file, and gives the sealed value of that line.
fn golden<'g>(file: &'g str, name: &str, plain: &[u8]) -> &'g [u8] {
    let mut lines = file.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let Some(line) = lines.find(|line| line[0] == name) else {
        let sealed = String::from_utf8(sealed(&sealer(), plain.to_vec()).unwrap()).unwrap();
        panic!("a new value needs a line:\n{name} {} {sealed}", hex(plain));
    };
    assert_eq!(hex(plain), line[1], "{name}: a change of the layout needs a new version");
    line[2].as_bytes()
}

#[test]
fn what_lies_in_the_store_in_version_1_is_fixed_and_opens() {
    let file = include_str!("../../../../tests/data/store-v1.txt");
    let mut known = 0;
    for (name, record) in records() {
        let sealed = golden(file, &format!("record-{name}"), &plain(&("record", &record)).unwrap());
        assert_eq!(open(&sealer(), sealed), Ok(record), "{name}");
        known += 1;
    }
    for (name, denial) in denials() {
        let sealed = golden(file, &format!("denial-{name}"), &plain(&("denial", &denial)).unwrap());
        assert_eq!(open_denial(&sealer(), sealed), Ok(denial), "{name}");
        known += 1;
    }
    let (_, shown) = records().swap_remove(3);
    let note = plain(&("note", shown.sid, shown.newest, &shown.generations)).unwrap();
    let sealed = golden(file, "note", &note);
    assert_eq!(read_note(&sealer(), sealed), Ok((shown.sid, shown.newest, shown.generations)));
    assert_eq!(file.lines().count(), known + 1, "a line that nothing reads");
}
