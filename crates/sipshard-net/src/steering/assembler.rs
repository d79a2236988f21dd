//! A small assembler for classic BPF: instructions with names, and jumps to labels.

use libc::sock_filter;

/// A place in the program that is known by name before it is known by number.
#[derive(Clone, Copy)]
pub(super) struct Label(usize);

/// The two ways out of a conditional jump.
#[derive(Clone, Copy)]
enum Branch {
    Always,
    Taken,
    NotTaken,
}

/// Collects instructions; [`Assembler::finish`] fills in the distances of the jumps.
///
/// Classic BPF only jumps forwards, and a conditional jump reaches 255 instructions.
#[derive(Default)]
pub(super) struct Assembler {
    code: Vec<sock_filter>,
    places: Vec<Option<usize>>,
    jumps: Vec<(usize, Branch, Label)>,
}

// The operands of classic BPF: A is the accumulator, X the index register, M the scratch memory.
impl Assembler {
    pub(super) fn label(&mut self) -> Label {
        self.places.push(None);
        Label(self.places.len() - 1)
    }

    /// The next instruction is where `label` is.
    pub(super) fn bind(&mut self, label: Label) {
        self.places[label.0] = Some(self.code.len());
    }

    /// `A = length of the datagram`
    pub(super) fn load_length(&mut self) {
        self.emit(libc::BPF_LD | libc::BPF_W | libc::BPF_LEN, 0);
    }

    /// `A = value`
    pub(super) fn load_value(&mut self, value: u32) {
        self.emit(libc::BPF_LD | libc::BPF_IMM, value);
    }

    /// `A = the byte at offset`
    pub(super) fn load_byte(&mut self, offset: u32) {
        self.emit(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, offset);
    }

    /// `A = the four bytes at offset`, the first one highest
    pub(super) fn load_word(&mut self, offset: u32) {
        self.emit(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset);
    }

    /// `A = the byte at X + offset`
    pub(super) fn load_byte_at_x(&mut self, offset: u32) {
        self.emit(libc::BPF_LD | libc::BPF_B | libc::BPF_IND, offset);
    }

    /// `A = the four bytes at X + offset`, the first one highest
    pub(super) fn load_word_at_x(&mut self, offset: u32) {
        self.emit(libc::BPF_LD | libc::BPF_W | libc::BPF_IND, offset);
    }

    /// `A = M[cell]`
    pub(super) fn load_cell(&mut self, cell: u32) {
        self.emit(libc::BPF_LD | libc::BPF_MEM, cell);
    }

    /// `M[cell] = A`
    pub(super) fn store_cell(&mut self, cell: u32) {
        self.emit(libc::BPF_ST, cell);
    }

    /// `X = value`
    pub(super) fn load_x_value(&mut self, value: u32) {
        self.emit(libc::BPF_LDX | libc::BPF_W | libc::BPF_IMM, value);
    }

    /// `X = M[cell]`
    pub(super) fn load_x_cell(&mut self, cell: u32) {
        self.emit(libc::BPF_LDX | libc::BPF_W | libc::BPF_MEM, cell);
    }

    /// `M[cell] = X`
    pub(super) fn store_x_cell(&mut self, cell: u32) {
        self.emit(libc::BPF_STX, cell);
    }

    /// `X = A`
    pub(super) fn x_from_a(&mut self) {
        self.emit(libc::BPF_MISC | libc::BPF_TAX, 0);
    }

    /// `A = X`
    pub(super) fn a_from_x(&mut self) {
        self.emit(libc::BPF_MISC | libc::BPF_TXA, 0);
    }

    /// `A = A operation value`
    pub(super) fn compute(&mut self, operation: u32, value: u32) {
        self.emit(libc::BPF_ALU | operation | libc::BPF_K, value);
    }

    /// `A = A operation X`
    pub(super) fn compute_x(&mut self, operation: u32) {
        self.emit(libc::BPF_ALU | operation | libc::BPF_X, 0);
    }

    /// Goes to `label` when `A comparison value` holds, else on.
    pub(super) fn jump_if(&mut self, comparison: u32, value: u32, label: Label) {
        self.jumps.push((self.code.len(), Branch::Taken, label));
        self.emit(libc::BPF_JMP | comparison | libc::BPF_K, value);
    }

    /// Goes on when `A comparison value` holds, else to `label`.
    pub(super) fn jump_unless(&mut self, comparison: u32, value: u32, label: Label) {
        self.jumps.push((self.code.len(), Branch::NotTaken, label));
        self.emit(libc::BPF_JMP | comparison | libc::BPF_K, value);
    }

    /// The same for a label that is further away than a conditional jump reaches.
    pub(super) fn jump_unless_far(&mut self, comparison: u32, value: u32, label: Label) {
        let holds = self.label();
        self.jump_if(comparison, value, holds);
        self.jump(label);
        self.bind(holds);
    }

    /// Goes to `label`, however far.
    pub(super) fn jump(&mut self, label: Label) {
        self.jumps.push((self.code.len(), Branch::Always, label));
        self.emit(libc::BPF_JMP | libc::BPF_JA, 0);
    }

    /// Ends the program with `value`.
    pub(super) fn return_value(&mut self, value: u32) {
        self.emit(libc::BPF_RET | libc::BPF_K, value);
    }

    /// Ends the program with A.
    pub(super) fn return_a(&mut self) {
        // The C library has no name for this flag: `BPF_A`, the accumulator as the result.
        self.emit(libc::BPF_RET | 0x10, 0);
    }

    /// The program. Panics when a label was never bound, is behind its jump, or is out of a
    /// conditional jump's reach: faults of the code that calls this, the same for every datagram.
    pub(super) fn finish(mut self) -> Vec<sock_filter> {
        for &(at, branch, label) in &self.jumps {
            let place = self.places[label.0].expect("a label that is jumped to is bound");
            let distance = place.checked_sub(at + 1).expect("jumps go forwards");
            let near = || u8::try_from(distance).expect("a conditional jump reaches its label");
            match branch {
                Branch::Always => self.code[at].k = distance as u32,
                Branch::Taken => self.code[at].jt = near(),
                Branch::NotTaken => self.code[at].jf = near(),
            }
        }
        self.code
    }

    fn emit(&mut self, code: u32, k: u32) {
        self.code.push(sock_filter {
            code: code as u16,
            jt: 0,
            jf: 0,
            k,
        });
    }
}
