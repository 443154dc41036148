//! The few pages a person sees.

use std::fmt::Write as _;

use crate::settings::User;

/// One button per user; each posts `user` to the authorization request that led here.
pub(crate) fn picker(client_id: &str, action: &str, users: &[User]) -> String {
    let mut buttons = String::new();
    for user in users {
        let sub = escaped(&user.sub);
        let name = escaped(&user.name);
        let groups = escaped(&user.groups.join(", "));
        // Writing to a String cannot fail.
        write!(
            buttons,
            "<button id=\"user-{sub}\" name=\"user\" value=\"{sub}\"><b>{name}</b><span>{sub} · {groups}</span></button>"
        )
        .ok();
    }
    let client = escaped(client_id);
    let action = escaped(action);
    page(
        "Who are you?",
        &format!(
            "<p>Log in to <b>{client}</b> as</p><form method=\"post\" action=\"{action}\">{buttons}</form>\
             <p class=\"small\">A provider for development. There are no passwords.</p>"
        ),
    )
}

/// A page that only says something.
pub(crate) fn notice(title: &str, text: &str) -> String {
    page(title, &format!("<p>{}</p>", escaped(text)))
}

fn page(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><style>{STYLE}</style></head>\
         <body><main><h1>{title}</h1>{body}</main></body></html>"
    )
}

pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{margin:0;min-height:100vh;display:grid;place-items:center;font:16px/1.5 system-ui,sans-serif;\
background:light-dark(#f4f2ee,#1b1a18);color:light-dark(#2a2723,#ece8e1)}\
main{width:min(24rem,calc(100vw - 3rem));padding:2rem;border-radius:14px;background:light-dark(#fff,#262421);\
box-shadow:0 1px 3px #0002,0 8px 30px #0001}\
h1{margin:0 0 .5rem;font-size:1.35rem}\
p{margin:0 0 1rem}\
.small{margin:1.25rem 0 0;font-size:.85rem;opacity:.65}\
button{display:flex;justify-content:space-between;align-items:baseline;gap:1rem;width:100%;margin:.5rem 0 0;\
padding:.75rem 1rem;font:inherit;color:inherit;text-align:left;cursor:pointer;border-radius:10px;\
border:1px solid light-dark(#ddd8cf,#45413b);background:none}\
button:hover,button:focus-visible{border-color:#b4691f;outline:2px solid #b4691f44}\
span{font-size:.85rem;opacity:.65}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_name_cannot_leave_its_button() {
        let users = [User::new("\"><script>", "<b>", &["&"])];
        let html = picker("<client>", "/authorize?a=\"b", &users);
        assert!(!html.contains("<script>") && !html.contains("<client>") && !html.contains("a=\"b"));
        assert!(html.contains("id=\"user-&quot;&gt;&lt;script&gt;\""));
    }
}
