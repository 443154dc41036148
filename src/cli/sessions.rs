//! `bearward sessions end`: ends sessions through a gateway's admin listener.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::admin_call::{Answer, call};
use super::{EndArgs, failed, print};

/// Asks the gateway to end them.
pub(super) fn end(args: &EndArgs) -> ExitCode {
    let which = &args.which;
    let wish = match (&which.sid, &which.sub) {
        (Some(sid), _) => json!({ "session": sid }),
        (None, Some(sub)) => json!({ "subject": sub }),
        (None, None) => json!({ "all": true }),
    };
    match call(args.address, "POST", "/sessions/end", &wish.to_string()) {
        Ok(Answer { status: 200, body }) => {
            let body = serde_json::from_str::<Value>(&body).ok();
            let ended = body.as_ref().and_then(|body| body.get("ended_here")?.as_u64());
            print(&format!(
                "ended; {} of them were known to this replica, the others end when their cookie appears\n",
                ended.unwrap_or_default()
            ))
        }
        Ok(Answer { body, .. }) => {
            let error = serde_json::from_str::<Value>(&body).ok();
            let error =
                error.as_ref().and_then(|body| body.get("error")?.as_str()).unwrap_or("it was refused");
            failed(error)
        }
        Err(error) => failed(&format!("nobody answers on {}: {}", args.address, error.kind())),
    }
}
