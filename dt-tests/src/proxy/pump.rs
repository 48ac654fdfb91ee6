//! One direction of one connection: a thread that reads and one that writes, so that what is under way does not hold up what
//! comes after it.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::commits::Commits;
use super::link::{Death, Direction, Link};
use super::wire::Wire;

/// What is read at once, at most.
const CHUNK_BYTES: usize = 64 * 1024;
/// What a narrow wire carries at once.
const PACKET_BYTES: usize = 1400;
/// How much may be under way in a direction.
const CHUNKS_UNDER_WAY: usize = 256;
/// A server that has said nothing for so long after a commit has said all that it has to say of it.
const ANSWERED: Duration = Duration::from_millis(100);

/// What is under way.
enum Parcel {
    /// Bytes that arrive at a time.
    Bytes(Instant, Vec<u8>),
    /// The connection breaks when all before it has arrived.
    Reset,
}

/// Carries both directions until the connection is over.
pub(super) fn carry(wire: &Arc<Wire>, link: &Arc<Link>) {
    for direction in Direction::BOTH {
        let (sender, receiver) = sync_channel(CHUNKS_UNDER_WAY);
        let (of_reader, of_writer) = ((wire.clone(), link.clone()), (wire.clone(), link.clone()));
        std::thread::spawn(move || {
            read(&of_reader.0, &of_reader.1, direction, &sender);
            of_reader.1.end();
        });
        std::thread::spawn(move || write(&of_writer.0, &of_writer.1, direction, &receiver));
    }
}

fn read(wire: &Arc<Wire>, link: &Arc<Link>, direction: Direction, parcels: &SyncSender<Parcel>) {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut commits = Commits::default();
    let mut free_at = Instant::now();
    loop {
        let bytes = match link.from(direction).read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(read) => &buffer[..read],
        };
        if link.is_reset() {
            return;
        }
        match direction {
            Direction::Requests => {
                wire.asked(bytes);
                let seen = commits.seen_in(bytes);
                if seen > 0 && wire.loses(seen) {
                    lose_the_answer(wire, link);
                }
            }
            Direction::Replies if !wire.reply() => return,
            Direction::Replies => {}
        }
        let resets_after = wire.resets_after(direction, bytes.len());
        wire.pass();
        if link.is_dead(direction) {
            link.swallow();
            continue;
        }
        let (latency, bandwidth) = wire.pace();
        let packet = if bandwidth.is_some() { PACKET_BYTES } else { CHUNK_BYTES };
        for piece in bytes[..resets_after.unwrap_or(bytes.len())].chunks(packet) {
            let takes = bandwidth.map_or(0.0, |bandwidth| piece.len() as f64 / f64::from(bandwidth));
            free_at = free_at.max(Instant::now()) + Duration::from_secs_f64(takes);
            if parcels.send(Parcel::Bytes(free_at + latency, piece.to_vec())).is_err() {
                return;
            }
        }
        if resets_after.is_some() && parcels.send(Parcel::Reset).is_err() {
            return;
        }
    }
}

/// Nothing that the server says is heard any more; when it has said all, the connection is over.
fn lose_the_answer(wire: &Arc<Wire>, link: &Arc<Link>) {
    link.die(Direction::Replies, Death::Silent);
    let (wire, link) = (wire.clone(), link.clone());
    std::thread::spawn(move || {
        let (mut swallowed, mut silent_since) = (0, Instant::now());
        while !link.is_over() && (swallowed == 0 || silent_since.elapsed() < ANSWERED) {
            std::thread::sleep(ANSWERED / 10);
            if link.swallowed() != swallowed {
                (swallowed, silent_since) = (link.swallowed(), Instant::now());
            }
        }
        link.cut();
        wire.leave(&link);
    });
}

fn write(wire: &Wire, link: &Arc<Link>, direction: Direction, parcels: &Receiver<Parcel>) {
    for parcel in parcels {
        match parcel {
            Parcel::Bytes(due, bytes) => {
                // Nothing but the clock ends a delay.
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let is_over = link.is_reset();
                if is_over || !link.is_dead(direction) && link.to(direction).write_all(&bytes).is_err() {
                    break;
                }
            }
            Parcel::Reset => {
                link.reset();
                break;
            }
        }
    }
    if wire.state().vanishing {
        // The wire holds on to it.
        return;
    }
    if !link.is_reset() && !link.is_dead(direction) {
        // Half of a connection is of no use to these protocols, unless it is what is to be tried.
        link.cut();
    }
    if !link.is_dead(direction) {
        wire.leave(link);
    }
}
