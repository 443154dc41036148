//! Which certificates vouch for which upstream.

use std::path::PathBuf;
use std::sync::Arc;

use pingora::utils::tls::{WrappedX509, parse_x509};

use super::UpstreamError;
use crate::base::tls;
use crate::edge::settings::Upstream;

/// pingora has one set for all connections, which allows TLS sessions to be resumed, and a set per upstream, which
/// does not: the one set is used where all upstreams agree.
pub(super) enum Trust {
    /// No upstream speaks TLS: loading the machine's roots would cost 10 ms for nothing.
    Nobody,
    /// All trust the machine's roots, or the same file.
    Same(Option<PathBuf>),
    Mixed,
}

impl Trust {
    pub(super) fn of(settings: &[Upstream]) -> Self {
        let speaks_tls = |one: &&Upstream| one.endpoints.iter().any(|endpoint| endpoint.place.speaks_tls());
        let mut files = settings.iter().filter(speaks_tls).map(|one| &one.ca_file);
        match files.next() {
            None => Self::Nobody,
            Some(first) if files.all(|other| other == first) => Self::Same(first.clone()),
            Some(_) => Self::Mixed,
        }
    }

    /// The file that pingora loads for all; `None` for the machine's roots.
    pub(super) fn common(&self) -> Option<String> {
        match self {
            Self::Nobody => Some("/dev/null".to_owned()),
            Self::Same(file) => file.as_ref().map(|file| file.to_string_lossy().into_owned()),
            Self::Mixed => None,
        }
    }

    /// The certificates that vouch for one upstream, where they are not those of all; checked in either case.
    pub(super) fn of_upstream(
        &self,
        settings: &Upstream,
    ) -> Result<Option<Arc<[WrappedX509]>>, UpstreamError> {
        let fail = |source| UpstreamError::Ca { name: settings.name.clone(), source };
        // pingora panics over a file that it cannot use; find out before.
        tls::client_config(settings.ca_file.as_deref()).map_err(fail)?;
        match (&settings.ca_file, self) {
            (Some(file), Self::Mixed) => {
                let certificates = tls::read_certificates(file).map_err(fail)?;
                let wrapped = certificates.iter().map(|one| WrappedX509::new(one.to_vec(), parse_x509));
                Ok(Some(wrapped.collect()))
            }
            (Some(_) | None, Self::Nobody | Self::Same(_) | Self::Mixed) => Ok(None),
        }
    }
}
