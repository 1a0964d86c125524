//! What an operator reads of a device.

use crate::base::time::{from_micros, stamp};
use crate::store::devices::Device;

/// `name  software, what it runs on; seen …; token until …`
pub(super) fn device_line(device: &Device) -> String {
    let said = [&*device.software, &*device.name].into_iter().filter(|said| !said.is_empty());
    let said = said.collect::<Vec<_>>().join(", ");
    let said = if said.is_empty() { "unnamed" } else { &said };
    let day = |micros| stamp(from_micros(micros)).split('T').next().unwrap_or_default().to_owned();
    let token = device.token_until.map(|until| format!(", token until {}", day(until)));
    format!(
        "{}  {said}; first seen {}, last {}{}",
        device.agent.name(),
        day(device.first_seen),
        day(device.last_seen),
        token.unwrap_or_default()
    )
}
