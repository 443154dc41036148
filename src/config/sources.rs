//! The files that a configuration was read from, and whether they have changed.
//!
//! What has changed is told by content: a file that was touched, or written anew with what it held, has not.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::base::secret::sha256;

/// The configuration file and every key, secret and certificate that it names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources(BTreeSet<PathBuf>);

/// What the files held at some moment. Holds digests only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    digest: [u8; 32],
    /// Whether all of them could be read.
    pub whole: bool,
}

impl Sources {
    /// These files.
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        Self(paths.into_iter().map(Path::to_owned).collect())
    }

    /// A file was read, or should have been.
    pub(super) fn add(&mut self, path: &Path) {
        self.0.insert(path.to_owned());
    }

    /// The files.
    pub fn iter(&self) -> std::collections::btree_set::Iter<'_, PathBuf> {
        self.0.iter()
    }

    /// Both, where a file that failed must be watched besides those that are in use.
    #[must_use]
    pub fn with(&self, others: &Self) -> Self {
        Self(self.0.union(&others.0).cloned().collect())
    }

    /// What they hold now.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut digests = Vec::new();
        let mut whole = true;
        for path in &self.0 {
            let content = content(path);
            whole &= content.is_some();
            digests.extend_from_slice(&sha256(path.as_os_str().as_encoded_bytes()));
            digests.extend_from_slice(&content.unwrap_or_default());
        }
        Fingerprint { digest: sha256(&digests), whole }
    }

    /// The folders in which a change of one of them shows. A file is often a link, and what is replaced is the link, what
    /// it points to, or a folder on the way: in a mounted ConfigMap `app.yaml` is `..data/app.yaml`, and `..data` a link
    /// that is swapped.
    pub fn folders(&self) -> BTreeSet<PathBuf> {
        let mut folders = BTreeSet::new();
        for path in &self.0 {
            let mut at = path.clone();
            for _ in 0..MOST_LINKS {
                folders.extend(at.parent().map(named));
                let links = at.ancestors().skip(1).filter(|folder| folder.is_symlink());
                folders.extend(links.filter_map(Path::parent).map(named));
                let Ok(target) = fs::read_link(&at) else { break };
                at = at.parent().unwrap_or(Path::new("")).join(target);
            }
        }
        folders
    }
}

/// `config.yaml` lies in the folder that has no name.
fn named(folder: &Path) -> PathBuf {
    if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() }
}

/// A digest of what a file holds, empty included; `None` where it cannot be read.
fn content(path: &Path) -> Option<[u8; 32]> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
    let digest = sha256(&bytes);
    // It may have been a key.
    zeroize::Zeroize::zeroize(&mut bytes);
    Some(digest)
}

/// As many as a path may lead over on Linux.
const MOST_LINKS: usize = 40;

/// More than a bundle of every authority there is.
const MOST: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn sources(paths: &[&Path]) -> Sources {
        Sources::of(paths.iter().copied())
    }

    #[test]
    fn content_decides() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        fs::write(&one, "a").unwrap();
        fs::write(&two, "b").unwrap();
        let sources = sources(&[&one, &two]);
        let before = sources.fingerprint();
        assert!(before.whole);
        fs::write(&one, "a").unwrap();
        assert_eq!(sources.fingerprint(), before);
        fs::write(&one, "b").unwrap();
        let changed = sources.fingerprint();
        assert_ne!(changed, before);
        fs::write(&two, "a").unwrap();
        fs::write(&one, "").unwrap();
        let empty = sources.fingerprint();
        assert!(empty.whole);
        fs::remove_file(&one).unwrap();
        assert!(!sources.fingerprint().whole);
        assert_ne!(sources.fingerprint(), empty);
    }

    #[test]
    fn each_link_on_the_way_is_watched_where_it_can_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // As kubelet mounts a ConfigMap.
        fs::create_dir_all(at("mount/..2026_11")).unwrap();
        fs::write(at("mount/..2026_11/app.yaml"), "a").unwrap();
        symlink("..2026_11", at("mount/..data")).unwrap();
        symlink("..data/app.yaml", at("mount/app.yaml")).unwrap();
        // And a release that is switched.
        symlink(at("mount"), at("current")).unwrap();
        let folders = sources(&[&at("current/app.yaml")]).folders();
        for expected in ["current", "current/..data", ""] {
            assert!(
                folders.contains(&at(expected).components().collect::<PathBuf>()),
                "{expected}: {folders:?}"
            );
        }
        // A ring has no end.
        symlink("ring", at("ring")).unwrap();
        assert!(!sources(&[&at("ring")]).folders().is_empty());
        assert_eq!(sources(&[Path::new("bearward.yaml")]).folders(), BTreeSet::from([PathBuf::from(".")]));
    }
}
