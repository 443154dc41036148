//! A call of an endpoint of ours: body read whole, answer written whole.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::EXPECT;
use pingora::proxy::Session;

use super::told;
use crate::edge::call::Call;
use crate::edge::respond;
use crate::gate::denial::Denial;
use crate::gate::verdict::EndpointCall;

/// Serves it.
///
/// # Errors
/// Where the client is gone.
pub(super) async fn serve(
    session: &mut Session,
    call: &mut Call,
    wanted: EndpointCall,
    patience: Duration,
) -> pingora::Result<()> {
    call.outcome = "endpoint";
    let Ok(body) = tokio::time::timeout(patience, body(session)).await else {
        let response = call.refusal(&told::head(session, call.id), Denial::BodyTimeout);
        session.set_keepalive(None);
        call.status = respond::write(session, response).await?;
        return Ok(());
    };
    let response = match body? {
        Some(body) => call.live.bff.serve(wanted, &told::head(session, call.id), body).await,
        None => call.refusal(&told::head(session, call.id), Denial::BodyTooLarge),
    };
    call.status = respond::write(session, response).await?;
    Ok(())
}

/// The whole body; `None` where it is larger than any endpoint takes. std:183
async fn body(session: &mut Session) -> pingora::Result<Option<Bytes>> {
    if session.is_body_empty() {
        return Ok(Some(Bytes::new()));
    }
    // RFC 9110 §10.1.1
    if session.req_header().headers.contains_key(EXPECT) {
        session.write_continue_response().await?;
    }
    let mut whole = BytesMut::new();
    while let Some(piece) = session.read_request_body().await? {
        if whole.len() + piece.len() > LARGEST {
            return Ok(None);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Some(whole.freeze()))
}

// Forms and logout tokens: far smaller than this.
const LARGEST: usize = 64 * 1024;
