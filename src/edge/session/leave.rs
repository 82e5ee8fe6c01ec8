//! Saying goodbye when the node stops: one client after the other, so that they do not all come to
//! the other nodes at once. Until its turn a client is served as before.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::types::SessionId;

/// How long the goodbyes of a thousand clients take.
const THOUSAND: Duration = Duration::from_secs(1);

/// Waits until the node stops and it is the session's turn, within `most`.
pub(in crate::edge::session) async fn turn(
    stops: &CancellationToken,
    session: SessionId,
    clients: impl Fn() -> i64,
    most: Duration,
) {
    stops.cancelled().await;
    let clients = u32::try_from(clients()).unwrap_or(0);
    let all = (THOUSAND / 1_000 * clients).min(most);
    // Sessions are named by chance.
    let [first, second, ..] = session.0;
    sleep(all / (1 << 16) * u32::from(u16::from_be_bytes([first, second]))).await;
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn goodbyes_are_spread_over_the_time_that_their_number_wants() {
        let (stops, most) = (CancellationToken::new(), Duration::from_secs(2));
        stops.cancel();
        let ends = async |clients: i64| {
            let began = Instant::now();
            let turn = async |n: u8| {
                turn(&stops, SessionId([n; 16]), || clients, most).await;
                began.elapsed()
            };
            join_all((0..=255).map(turn)).await
        };
        for (clients, all) in [(0, 0), (500, 500), (1_000_000, 2_000)] {
            let ends = ends(clients).await;
            assert!(ends.is_sorted() && ends[255] <= Duration::from_millis(all + 2), "{clients}");
            let half = ends.iter().filter(|end| end.as_millis() <= u128::from(all / 2 + 2)).count();
            let even = if all == 0 { 256 } else { 128 };
            assert!(half.abs_diff(even) <= 2, "{half} of 256 in the first half of {all} ms");
        }
    }
}
