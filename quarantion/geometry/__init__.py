"Points of a grid become places on a curve, those of a plane a ball's, and come back"
from quarantion import _room

__all__ = _room(__name__, order='to_curve from_curve neighbour_gaps causal_order',
                e8='e8_shell reflect coxeter_plane nearest_e8 second_moment',
                ball='to_ball exp0 log0 mobius_add ball_distance BallLinear distortion Embedded embed_distances',
                simplex='distance log_map exp_map mean geodesic', warp='warped triangle_failures')
