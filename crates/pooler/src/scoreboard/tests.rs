//! Where version 4 has what.

use super::*;

fn slot(number: u8) -> Slot {
    Slot::new(number).unwrap()
}

#[test]
fn writes_the_header_of_version_4() {
    let board = Scoreboard::create().unwrap();
    let header: Vec<u64> = board.words[..3].iter().map(load).collect();
    assert_eq!(header, [0x7067_736b_6569_6e04, 16, 254]);
}

#[test]
fn writes_a_cell_where_version_4_has_it() {
    let board = Scoreboard::create().unwrap();
    let cell = board.cell(slot(3), 5).unwrap();
    cell.claim(slot(3), 5);
    cell.set_pid(4711);
    cell.set_state(WorkerState::Ready);
    cell.loop_running(77);
    for _ in 0..9 {
        assert!(board.take_place(cell, 9));
    }
    cell.set_waiting(8);
    cell.set_servers(7);
    cell.add_cleaned();
    cell.set_prepared(6, 1234);
    cell.set_swept(76);
    cell.add_moved();
    cell.add_unmoved();
    cell.add_unmoved();
    cell.add_arrived();
    let at = 32 + 16 * (2 * (3 - 1) + 1);
    let words: Vec<u64> = board.words[at..at + 16].iter().map(load).collect();
    let started = words[3];
    assert_eq!(
        words[..14],
        [4711, 3, 5, started, 2, 77, 9, 8, 7, 1, 6, 1234, 0, 76]
    );
    assert_eq!(words[14..], [(2 << 32) + 1, 1]);
    let view = board.cells().next().unwrap();
    assert_eq!((view.index, view.pid, view.servers), (5, 4711, 7));
    assert_eq!((view.moved, view.unmoved, view.arrived), (1, 2, 1));
}

#[test]
fn gives_every_worker_of_two_generations_its_own_cell() {
    let board = Scoreboard::create().unwrap();
    for number in 1..=127 {
        for generation in [1, 2] {
            let cell = board.cell(slot(number), generation).unwrap();
            cell.claim(slot(number), generation);
        }
    }
    assert_eq!(board.cells().count(), 254);
}

#[test]
fn counts_ids_from_1_or_on_from_those_of_another_group() {
    let board = Scoreboard::create().unwrap();
    assert_eq!([board.next_id(), board.next_id()], [1, 2]);
    board.skip_ids(9);
    board.skip_ids(8);
    assert_eq!((board.last_id(), board.next_id()), (9, 10));
}

#[test]
fn opens_what_another_process_has_made_and_nothing_else() {
    let board = Scoreboard::create().unwrap();
    let opened = Scoreboard::open(board.fd.try_clone().unwrap()).unwrap();
    board.next_id();
    assert_eq!(opened.last_id(), 1);
    board.words[0].store(1, Ordering::Relaxed);
    assert!(Scoreboard::open(board.fd.try_clone().unwrap()).is_err());
    let (other, _) = std::os::unix::net::UnixStream::pair().unwrap();
    assert!(Scoreboard::open(other.into()).is_err());
}

fn load(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}
