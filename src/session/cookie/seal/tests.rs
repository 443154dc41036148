//! Known answers, moved values, changed bits, arbitrary bytes.

use proptest::prelude::*;

use super::*;
use crate::base::secret::Secret;

fn key(id: &str, byte: u8) -> Key {
    Key { id: id.to_owned(), bytes: Secret::new([byte; 32]) }
}

fn sealer(keys: &[Key]) -> Sealer {
    Sealer::new(keys, Purpose::Session, "__Host-bearward").unwrap()
}

fn open(sealer: &Sealer, sealed: &str) -> Result<Vec<u8>, OpenError> {
    let mut buffer = Vec::new();
    sealer.open(sealed.as_bytes(), &mut buffer).map(<[u8]>::to_vec)
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn the_cipher_is_xaes_256_gcm() {
    // The two vectors of the specification, c2sp.org/XAES-256-GCM.
    for (byte, aad, expected) in [
        (1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
        (3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
    ] {
        let key = RingKey::new(&[byte; 32], "1.k.".to_owned(), aad.as_bytes().to_vec()).unwrap();
        let sealer =
            Sealer { keys: ArcSwap::from_pointee(vec![key]), purpose: Purpose::Session, name: String::new() };
        let sealed = sealer.seal_with_nonce(b"XAES-256-GCM".to_vec(), *b"ABCDEFGHIJKLMNOPQRSTUVWX").unwrap();
        let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(&sealed.as_bytes()[4..]).unwrap();
        assert_eq!(bytes[24..], unhex(expected));
        assert_eq!(open(&sealer, &sealed).unwrap(), b"XAES-256-GCM");
    }
}

#[test]
fn a_sealed_value_of_this_version_still_opens() {
    // A golden value: a cookie sealed before an update must open after it.
    let golden = "1.2026-11.QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB";
    let sealed = sealer(&[key("2026-11", 7)]).seal_with_nonce(b"golden".to_vec(), [b'A'; 24]).unwrap();
    assert!(sealed.starts_with(golden), "{sealed}");
    assert_eq!(sealed, include_str!("../../../../tests/data/sealed-v1.txt").trim_end());
}

#[test]
fn the_first_key_seals_and_every_key_opens() {
    let old = sealer(&[key("old", 1)]);
    let both = sealer(&[key("new", 2), key("old", 1)]);
    let from_old = old.seal(b"hello".to_vec()).unwrap();
    assert_eq!(open(&both, &from_old).unwrap(), b"hello");
    let from_both = both.seal(b"hello".to_vec()).unwrap();
    assert!(from_both.starts_with("1.new."));
    assert_eq!(open(&old, &from_both), Err(OpenError::UnknownKey));
}

#[test]
fn a_ring_is_rolled_in_two_steps_without_a_value_that_nobody_can_open() {
    // Two replicas roll one after the other, whatever each of them seals meanwhile.
    let (old, new) = (|| key("old", 1), || key("new", 2));
    let replicas = [sealer(&[old()]), sealer(&[old()])];
    let mut sealed = Vec::new();
    for ring in [vec![old(), new()], vec![new(), old()]] {
        for replica in &replicas {
            replica.replace(&ring).unwrap();
            sealed.extend(replicas.iter().map(|replica| replica.seal(b"session".to_vec()).unwrap()));
            for value in &sealed {
                assert!(replicas.iter().all(|replica| open(replica, value).is_ok()), "{value:.8}");
            }
        }
    }
    assert!(replicas[0].replace(&[]).is_err());
    assert!(open(&replicas[0], &sealed[0]).is_ok(), "a ring that is refused changes nothing");
    replicas[0].replace(&[new()]).unwrap();
    assert_eq!(open(&replicas[0], &sealed[0]), Err(OpenError::UnknownKey));
}

#[test]
fn a_moved_value_does_not_open() {
    // std:87: purpose, name and key id are bound.
    let keys = [key("k", 1)];
    let sealed = sealer(&keys).seal(b"hello".to_vec()).unwrap();
    let other_name = Sealer::new(&keys, Purpose::Session, "other").unwrap();
    let other_purpose = Sealer::new(&keys, Purpose::Login, "__Host-bearward").unwrap();
    assert_eq!(open(&other_name, &sealed), Err(OpenError::Forged));
    assert_eq!(open(&other_purpose, &sealed), Err(OpenError::Forged));
    let renamed = sealer(&[key("j", 1)]);
    assert_eq!(open(&renamed, &sealed.replace("1.k.", "1.j.")), Err(OpenError::Forged));
}

#[test]
fn what_is_not_a_sealed_value_says_so() {
    let sealer = sealer(&[key("k", 1)]);
    for (value, expected) in [
        ("", OpenError::Malformed),
        ("1", OpenError::Malformed),
        ("1.k.", OpenError::Malformed),
        ("1.k.AAAA", OpenError::Malformed),
        ("1.k.!!!!", OpenError::Malformed),
        ("1.other.AAAA", OpenError::UnknownKey),
        ("2.k.AAAA", OpenError::UnknownVersion),
        ("x.k.AAAA", OpenError::Malformed),
    ] {
        assert_eq!(open(&sealer, value), Err(expected), "{value}");
    }
}

#[test]
fn every_changed_bit_is_noticed() {
    // std:86
    let sealer = sealer(&[key("k", 1)]);
    let sealed = sealer.seal(b"hello".to_vec()).unwrap();
    let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(&sealed.as_bytes()[4..]).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let value = format!("1.k.{}", base64_simd::URL_SAFE_NO_PAD.encode_to_string(&changed));
        assert_eq!(open(&sealer, &value), Err(OpenError::Forged));
    }
}

proptest! {
    #[test]
    fn what_was_sealed_opens(plain in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let sealer = sealer(&[key("k", 1)]);
        let sealed = sealer.seal(plain.clone()).unwrap();
        prop_assert_eq!(open(&sealer, &sealed).unwrap(), plain);
    }

    #[test]
    fn arbitrary_values_never_open_and_never_panic(value in ".{0,200}") {
        prop_assert!(open(&sealer(&[key("k", 1)]), &value).is_err());
    }
}
