"""How modules beat and how the supervisor hears that one has stopped.

Read `pulse_page` (the shared page where each module's own loop leaves its pulse), then `liveness` (what an old pulse
means; pure), then `pulses` (the fast, medium and slow beats inside a module).
"""
