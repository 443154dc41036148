//! What an idle connection costs.

/// The size of the future that a function returns.
fn size<A, F>(_: impl FnOnce(A) -> F) -> usize {
    size_of::<F>()
}

// DESIGN §9: 12 KB per idle connection. The allocator, the socket's registration and the timer come on top.
#[test]
fn an_idle_connection_is_a_small_future() {
    let connection = size(|(worker, conn, secure, seat)| super::worker::serve(worker, conn, secure, seat));
    let http1 = size(|(worker, io)| super::http1::serve(worker, io));
    assert!(connection < 1024, "a connection: {connection} bytes");
    assert!(http1 < 1024, "an HTTP/1 connection between two requests: {http1} bytes");
}
