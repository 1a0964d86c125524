//! What is measured of rooms.

use super::rooms::Rooms;
use crate::base::figures::Figures;

/// The figures of the module.
pub(super) fn figures(rooms: &Rooms) -> Figures {
    let (mut loaded, mut occupants, mut sessions) = (0, 0, 0);
    for part in 0..rooms.parts() {
        for hold in rooms.part(part) {
            let room = hold.lock();
            loaded += 1;
            occupants += room.occupants.len() as u64;
            sessions += room.sessions.len() as u64;
        }
    }
    let mut out = Figures::default();
    out.gauge("stonechat_rooms_loaded", "Rooms in memory: with occupants, or used of late.")
        .is(loaded);
    out.gauge("stonechat_room_occupants", "Nicknames in all rooms together.").is(occupants);
    out.gauge(
        "stonechat_room_sessions",
        "Sessions in all rooms together: several may have one nickname.",
    )
    .is(sessions);
    out
}
