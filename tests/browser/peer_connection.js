// Stands in for the browser's RTCPeerConnection: signalling is what is tested, and the other phones
// offer plain RTP, which the real one refuses (RFC 8827 §6.5 demands DTLS-SRTP).

const DESCRIPTION = [
  "v=0",
  "o=- 53655765 2353687637 IN IP4 127.0.0.1",
  "s=-",
  "c=IN IP4 127.0.0.1",
  "t=0 0",
  "m=audio 40000 RTP/AVP 0",
  "a=rtpmap:0 PCMU/8000",
  "",
].join("\r\n");

export class PeerConnection extends EventTarget {
  iceGatheringState = "complete";
  iceConnectionState = "completed";
  connectionState = "connected";
  signalingState = "stable";
  localDescription = null;
  remoteDescription = null;

  async createOffer() {
    return { type: "offer", sdp: DESCRIPTION };
  }

  async createAnswer() {
    return { type: "answer", sdp: DESCRIPTION };
  }

  async setLocalDescription(description) {
    this.localDescription = description;
    this.#settle(description, "have-local-offer");
  }

  async setRemoteDescription(description) {
    this.remoteDescription = description;
    this.#settle(description, "have-remote-offer");
  }

  #settle(description, open) {
    this.signalingState = description.type === "offer" ? open : "stable";
  }

  getSenders() {
    return [];
  }

  getReceivers() {
    return [];
  }

  close() {
    this.signalingState = "closed";
  }
}
