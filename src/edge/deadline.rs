//! A deadline that moves without a timer operation each time.
//!
//! Each step of a connection sets it anew.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// The timer is only touched when it fires or must fire earlier.
#[derive(Debug)]
pub(super) struct Deadline {
    sleep: Pin<Box<Sleep>>,
    due: Instant,
}

impl Deadline {
    pub(super) fn new(after: Duration) -> Self {
        let sleep = Box::pin(tokio::time::sleep(after));
        Self { due: sleep.deadline(), sleep }
    }

    /// Moves it to `after` from now.
    pub(super) fn set(&mut self, after: Duration) {
        self.due = Instant::now() + after;
        if self.due < self.sleep.deadline() {
            self.sleep.as_mut().reset(self.due);
        }
    }

    /// Ready once it is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if self.due <= self.sleep.deadline() {
                return Poll::Ready(());
            }
            let due = self.due;
            self.sleep.as_mut().reset(due);
        }
    }
}

/// One wait by a [`Deadline`] that is set when the wait begins: most steps do not wait, and need none.
#[derive(Debug)]
pub(super) struct Wait {
    at_most: Duration,
    begun: Begun,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    No,
    Yes,
}

impl Wait {
    pub(super) const fn new(at_most: Duration) -> Self {
        Self { at_most, begun: Begun::No }
    }

    /// Ready once it has lasted too long.
    pub(super) fn poll(&mut self, deadline: &mut Deadline, cx: &mut Context<'_>) -> Poll<()> {
        if self.begun == Begun::No {
            self.begun = Begun::Yes;
            deadline.set(self.at_most);
        }
        deadline.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_over_when_the_last_setting_says() {
        let start = Instant::now();
        let mut deadline = Deadline::new(Duration::from_secs(60));
        for (set, over) in [(5, 5), (90, 95), (1, 96)] {
            deadline.set(Duration::from_secs(set));
            poll_fn(|cx| deadline.poll(cx)).await;
            assert_eq!(start.elapsed().as_secs(), over);
        }
    }
}
