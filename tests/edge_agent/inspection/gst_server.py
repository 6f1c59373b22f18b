"""GStreamer's RTSP server as a camera, for the system's Python: ``gst_server.py USER PASSWORD`` says its port and serves."""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402  # gi is told the version first

PICTURES = "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=20/1"


def main() -> None:
    """Serve until somebody ends the process."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(f"( {PICTURES} ! jpegenc ! rtpjpegpay name=pay0 pt=26 )")
    factory.set_shared(True)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    door = GstRtspServer.RTSPAuth()
    door.add_basic(GstRtspServer.RTSPAuth.make_basic(*sys.argv[1:3]), token)
    server.set_auth(door)
    role = Gst.Structure.new_from_string("user,media.factory.access=true,media.factory.construct=true")
    factory.add_role_from_structure(role[0] if isinstance(role, tuple) else role)
    server.get_mount_points().add_factory("/line", factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
