use proptest::prelude::*;

use super::*;

fn read(table: Table, start: u16, count: u16) -> Read {
    Read { table, start, count }
}

fn asked(framing: Framing, read: Read) -> Asked {
    Asked { framing, transaction: 7, unit: 17, read }
}

/// The answer's PDU with all data bytes `byte`.
fn pdu(read: Read, byte: u8) -> Vec<u8> {
    let mut pdu = vec![read.function(), u8::try_from(read.bytes()).unwrap()];
    pdu.resize(2 + read.bytes(), byte);
    pdu
}

fn rtu(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut frame = vec![unit];
    frame.extend(pdu);
    frame.extend(crc(&frame).to_le_bytes());
    frame
}

#[test]
fn the_check_sum_is_that_of_the_specification() {
    // "123456789", from the catalogue of CRC parameters.
    assert_eq!(crc(b"123456789"), 0x4B37);
    let frame = asked(Framing::Rtu, read(Table::Holding, 0x006B, 3)).frame();
    assert_eq!(frame, [0x11, 0x03, 0x00, 0x6B, 0x00, 0x03, 0x76, 0x87]);
}

#[test]
fn a_request_over_tcp_has_its_header() {
    let frame = asked(Framing::Tcp, read(Table::Input, 8, 1)).frame();
    assert_eq!(frame, [0, 7, 0, 0, 0, 6, 17, 4, 0, 8, 0, 1]);
}

#[test]
fn bits_are_unpacked_lowest_first_and_the_padding_is_dropped() {
    let answer = read(Table::Coil, 0, 10).answer(&[1, 2, 0b1000_0001, 0b10]);
    let mut bits = vec![false; 10];
    (bits[0], bits[7], bits[9]) = (true, true, true);
    assert_eq!(answer, Ok(Ok(Answer::Bits(bits))));
}

#[test]
fn fault_17_and_fault_18_an_answer_to_something_else_is_none() {
    let asked = asked(Framing::Tcp, read(Table::Holding, 0, 1));
    assert_eq!(asked.find(&[0, 8, 0, 0, 0, 5, 17, 3, 2, 0, 1]), Err(FrameError::Transaction));
    assert_eq!(asked.find(&[0, 7, 0, 0, 0, 5, 18, 3, 2, 0, 1]), Err(FrameError::Unit));
    assert_eq!(asked.find(&[0, 7, 0, 0, 0, 5, 17, 4, 2, 0, 1]), Err(FrameError::Function));
    let right = Ok(Some(Ok(Answer::Registers(vec![1]))));
    assert_eq!(asked.find(&[0, 7, 0, 0, 0, 5, 17, 3, 2, 0, 1]), right);
}

#[test]
fn fault_18_on_a_line_the_answer_of_another_unit_is_passed_over() {
    let asked = asked(Framing::Rtu, read(Table::Holding, 0, 1));
    let mut bytes = rtu(18, &[3, 2, 6, 66]);
    bytes.extend(rtu(17, &[4, 2, 6, 66]));
    bytes.extend(rtu(17, &[3, 4, 6, 66, 6, 66]));
    assert_eq!(asked.find(&bytes), Ok(None));
    bytes.extend(rtu(17, &[3, 2, 0, 42]));
    assert_eq!(asked.find(&bytes), Ok(Some(Ok(Answer::Registers(vec![42])))));
}

#[test]
fn fault_19_noise_on_a_line_is_no_answer() {
    let asked = asked(Framing::Rtu, read(Table::Holding, 0, 1));
    let mut broken = rtu(17, &[3, 2, 0, 42]);
    broken[4] ^= 1;
    assert_eq!(asked.find(&broken), Ok(None));
    let mut glitch = vec![0, 0xFF, 17];
    glitch.extend(rtu(17, &[0x83, 6]));
    assert_eq!(asked.find(&glitch), Ok(Some(Err(Exception::BUSY))));
    assert_eq!(asked.find(&[17; 600]), Err(FrameError::Noise));
}

proptest! {
    #[test]
    fn requests_are_reads_and_nothing_else(
        table in 0_usize..4, start: u16, count: u16, unit: u8, transaction: u16, rtu: bool,
    ) {
        let framing = if rtu { Framing::Rtu } else { Framing::Tcp };
        let read = read(Table::ALL[table], start, count);
        let frame = Asked { framing, transaction, unit, read }.frame();
        let function = if rtu { frame[1] } else { frame[7] };
        prop_assert!((1..=4).contains(&function));
        prop_assert_eq!(frame.len(), if rtu { 8 } else { 12 });
    }

    #[test]
    fn fault_19_no_bytes_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300), table in 0_usize..4, count in 1_u16..125,
    ) {
        let read = read(Table::ALL[table], 0, count);
        let _ = asked(Framing::Tcp, read).find(&bytes);
        let _ = asked(Framing::Rtu, read).find(&bytes);
        let _ = read.answer(&bytes);
    }

    #[test]
    fn fault_19_a_split_frame_waits_for_its_end_and_is_then_found(
        byte: u8, table in 0_usize..4, count in 1_u16..=125, cut: prop::sample::Index,
    ) {
        let read = read(Table::ALL[table], 0, count);
        let expected = read.answer(&pdu(read, byte)).unwrap();
        for framing in [Framing::Tcp, Framing::Rtu] {
            let frame = match framing {
                Framing::Rtu => rtu(17, &pdu(read, byte)),
                Framing::Tcp => {
                    let pdu = pdu(read, byte);
                    let mut frame = vec![0, 7, 0, 0, 0, u8::try_from(pdu.len() + 1).unwrap(), 17];
                    frame.extend(pdu);
                    frame
                }
            };
            let asked = asked(framing, read);
            prop_assert_eq!(asked.find(&frame[..cut.index(frame.len())]), Ok(None));
            prop_assert_eq!(asked.find(&frame), Ok(Some(expected.clone())));
        }
    }
}
