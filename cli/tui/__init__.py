"""The full-screen programs of `consumer`: the menu and the two inspectors. Nothing lives here yet."""
