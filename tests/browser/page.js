// One phone in one page: JsSIP as a web application would use it. The driver calls the functions of
// `phone`; what happens to the phone is told to the driver by `report`.

import JsSIP from "jssip";

import { PeerConnection } from "./peer_connection.js";

globalThis.RTCPeerConnection = PeerConnection;

const MEDIA = { mediaConstraints: { audio: false, video: false } };

let agent = null;
let session = null;

const phone = {
  // Connects and registers; a call that comes in is answered.
  open({ server, user, domain }) {
    agent = new JsSIP.UA({
      sockets: [new JsSIP.WebSocketInterface(server)],
      uri: `sip:${user}@${domain}`,
    });
    agent.on("registered", () => report({ event: "registered" }));
    agent.on("unregistered", () => report({ event: "unregistered" }));
    agent.on("registrationFailed", ({ cause }) => report({ event: "failed", cause }));
    agent.on("newRTCSession", (event) => follow(event));
    agent.start();
  },

  call({ target }) {
    agent.call(target, MEDIA);
  },

  hang_up() {
    session.terminate();
  },

  // Unregisters, then disconnects.
  close() {
    agent.stop();
  },
};

function follow(event) {
  session = event.session;
  session.on("progress", () => report({ event: "ringing" }));
  session.on("accepted", () => report({ event: "accepted" }));
  session.on("confirmed", () => report({ event: "confirmed" }));
  session.on("ended", ({ originator, cause }) => report({ event: "ended", originator, cause }));
  session.on("failed", ({ originator, cause }) => report({ event: "failed", originator, cause }));
  if (event.originator === "remote") {
    session.answer(MEDIA);
  }
}

globalThis.phone = phone;
