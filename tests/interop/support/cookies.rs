//! A browser's cookies: by host and path, with `Max-Age` and `Expires`.

use http::HeaderMap;
use http::header::SET_COOKIE;
use url::Url;

/// The cookies a browser holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cookies(Vec<Cookie>);

#[derive(Debug, Clone)]
struct Cookie {
    host: String,
    path: String,
    name: String,
    value: String,
}

/// What an answer did to a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Set { name: String },
    Deleted { name: String },
}

impl Cookies {
    /// Takes over what the answer from `url` sets and deletes.
    pub(crate) fn take(&mut self, url: &Url, headers: &HeaderMap) -> Vec<Change> {
        let lines = headers.get_all(SET_COOKIE).iter().map(|line| line.to_str().unwrap());
        lines.map(|line| self.take_one(url, line)).collect()
    }

    fn take_one(&mut self, url: &Url, line: &str) -> Change {
        let mut parts = line.split(';').map(str::trim);
        let (name, value) = parts.next().unwrap().split_once('=').unwrap();
        let (mut path, mut deleted) = (folder(url.path()), false);
        for part in parts {
            let (attribute, value) = part.split_once('=').unwrap_or((part, ""));
            match attribute.to_ascii_lowercase().as_str() {
                "path" if value.starts_with('/') => value.clone_into(&mut path),
                "max-age" => deleted |= value.parse::<i64>().is_ok_and(|seconds| seconds <= 0),
                // The one date in the past that servers use to delete.
                "expires" => deleted |= value.contains("1970"),
                _ => {}
            }
        }
        let host = url.host_str().unwrap().to_owned();
        self.0.retain(|cookie| (&*cookie.host, &*cookie.path, &*cookie.name) != (&host, &path, name));
        let name = name.to_owned();
        if deleted {
            return Change::Deleted { name };
        }
        self.0.push(Cookie { host, path, name: name.clone(), value: value.to_owned() });
        Change::Set { name }
    }

    /// The `Cookie` field of a request to `url`.
    pub(crate) fn header(&self, url: &Url) -> Option<String> {
        let host = url.host_str().unwrap();
        let applies = |cookie: &&Cookie| cookie.host == host && covers(&cookie.path, url.path());
        let mut cookies: Vec<_> = self.0.iter().filter(applies).collect();
        cookies.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<_> =
            cookies.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

/// The default path (RFC 6265 §5.1.4).
fn folder(path: &str) -> String {
    match path.rfind('/') {
        None | Some(0) => "/".to_owned(),
        Some(end) => path[..end].to_owned(),
    }
}

/// Whether a cookie of path `own` goes to `path` (RFC 6265 §5.1.4).
fn covers(own: &str, path: &str) -> bool {
    path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || own.ends_with('/'))
}
