//! The bytes floor on a 300-byte message: `cargo bench --bench xml`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stonechat::xml::{Framer, FramerLimits, Rules, check, ns};

const MESSAGE: &str = "<message from='romeo@montague.example/orchard' to='juliet@capulet.example' \
    type='chat' id='a7f3c1e0'><body>Neither, fair saint, if either thee dislike &amp; so on.</body>\
    <active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>\
    <origin-id xmlns='urn:xmpp:sid:0' id='a7f3c1e0'/></message>";
const RULES: Rules =
    Rules { content_ns: ns::CLIENT, depth_max: 100, attributes_max: 64, children_max: 256 };

fn xml(c: &mut Criterion) {
    let mut group = c.benchmark_group("xml");
    group.throughput(Throughput::Bytes(MESSAGE.len() as u64));

    let mut framer = Framer::new(FramerLimits { bytes_max: 262_144, depth_max: 100 });
    let mut buf = BytesMut::from("<stream:stream>");
    framer.next(&mut buf).unwrap();
    group.bench_function("framer", |b| {
        b.iter(|| {
            buf.extend_from_slice(MESSAGE.as_bytes());
            framer.next(black_box(&mut buf)).unwrap()
        });
    });

    let raw = Bytes::from_static(MESSAGE.as_bytes());
    group.bench_function("gate", |b| b.iter(|| check(black_box(raw.clone()), &RULES).unwrap()));

    let element = check(raw, &RULES).unwrap();
    group.bench_function("attr_to", |b| b.iter(|| black_box(&element).attr("to").is_some()));
    group.bench_function("view", |b| b.iter(|| black_box(&element).view()));
    group.finish();
}

criterion_group!(benches, xml);
criterion_main!(benches);
